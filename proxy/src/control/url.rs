//! The URL of the control plane.

use std::{fmt, str::FromStr};

use http::Uri;
use serde::{Serialize, Serializer};

/// `https://HOST:PORT`. The host may have several addresses, one for each replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlUrl {
    host: String,
    port: u16,
}

impl ControlUrl {
    /// The host without brackets, and the port: what is looked up.
    pub(super) fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for ControlUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write https://HOST:PORT, such as https://weft-control.weft.svc.cluster.local:8086";
        let uri: Uri = text.parse().map_err(|error| format!("{text:?} is not a URL ({error}); {example}"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => {
                return Err(format!(
                    "{text:?} would send tokens and policies unencrypted; the control plane speaks TLS only: {example}"
                ));
            }
            _ => return Err(format!("{text:?} has no scheme; {example}")),
        }
        let has_more = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/");
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let (Some(host), Some(port), false, false) = (uri.host(), uri.port_u16(), has_more, has_user) else {
            return Err(format!("{text:?} is not a host and a port; {example}"));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

impl Serialize for ControlUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port_over_tls() {
        for (text, host, port) in [
            ("https://weft-control.weft.svc.cluster.local:8086", "weft-control.weft.svc.cluster.local", 8086),
            ("https://127.0.0.1:1", "127.0.0.1", 1),
            ("https://[fd00::1]:8086/", "fd00::1", 8086),
        ] {
            let url: ControlUrl = text.parse().unwrap();
            assert_eq!(url.target(), (host, port));
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for (text, problem) in [
            ("http://127.0.0.1:8086", "speaks TLS only"),
            ("127.0.0.1:8086", "write https://HOST:PORT"),
            ("https://control", "not a host and a port"),
            ("https://control:8086/path", "not a host and a port"),
            ("https://user@control:8086", "not a host and a port"),
            ("", "write https://HOST:PORT"),
        ] {
            let error = text.parse::<ControlUrl>().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
