//! Reads the token by which a proxy names its pod.

use serde::Deserialize;
use tonic::Status;

use crate::{model::Name, names};

#[derive(Deserialize)]
struct Token {
    ns: String,
    pod: Option<String>,
}

/// Reads `{"ns":"…","pod":"…"}`, or `ns:pod` of older proxies.
pub(crate) fn parse_workload(token: &str) -> Result<Name, Status> {
    let invalid = |reason: &str| Status::invalid_argument(format!("Invalid workload {token:?}: {reason}"));
    let (namespace, name) = if token.starts_with('{') {
        let read: Token = serde_json::from_str(token).map_err(|error| invalid(&error.to_string()))?;
        (read.ns, read.pod.ok_or_else(|| invalid("weft knows only pods, and no pod is named"))?)
    } else {
        let (namespace, name) = token.split_once(':').ok_or_else(|| invalid("write namespace:pod"))?;
        (namespace.to_owned(), name.to_owned())
    };
    match names::is_label(&namespace) && names::is_subdomain(&name) {
        true => Ok(Name { namespace, name }),
        false => Err(invalid("namespace or pod is not a valid name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_tokens_of_new_and_old_proxies() {
        let expected = Name { namespace: "demo".into(), name: "web-0".into() };
        for token in [r#"{"ns":"demo","pod":"web-0"}"#, r#"{"ns":"demo","pod":"web-0","x":1}"#, "demo:web-0"]
        {
            assert_eq!(parse_workload(token).unwrap(), expected, "{token}");
        }
        for token in ["", "web", "demo:", ":web", r#"{"ns":"demo","external_workload":"x"}"#, "{", "a:b:c"] {
            assert_eq!(parse_workload(token).unwrap_err().code(), tonic::Code::InvalidArgument, "{token}");
        }
    }
}
