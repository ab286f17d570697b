//! Reads the path and query of a tap.

use std::collections::HashMap;

use weft_api::viz::{ErrorCode, Failure, ResourceType, TapQuery};

/// The query of a tap of a namespace, or of a resource in it.
///
/// # Errors
/// What is wrong with the parameters.
pub(super) fn read(
    namespace: String,
    resource: Option<(String, String)>,
    mut parameters: HashMap<String, String>,
) -> Result<TapQuery, Failure> {
    let (kind, name) = match resource {
        None => (ResourceType::Namespace, namespace.clone()),
        Some((plural, name)) => {
            let kind = ResourceType::of_plural(&plural).filter(|kind| *kind != ResourceType::Namespace);
            let known = || ResourceType::ALL.map(ResourceType::plural).join(", ");
            let kind = kind.ok_or_else(|| {
                let text = format!("{plural:?} cannot be tapped: write one of {}", known());
                Failure::new(ErrorCode::NotFound, text)
            })?;
            (kind, name)
        }
    };
    // The path says it already; the dashboard's names may be there too.
    for known in ["namespace", "type", "name"] {
        parameters.remove(known);
    }
    let to_type = parameters.remove("to_type").map(|text| text.parse::<ResourceType>());
    let to_type = to_type.transpose().map_err(|error| bad(format!("to_type: {error}")))?;
    let max_rps = parameters.remove("max_rps").map(|text| text.parse::<f64>().map_err(|_| text));
    let max_rps = max_rps.transpose().map_err(|text| bad(format!("max_rps: {text:?} is not a number")))?;
    let mut take = |name: &str| parameters.remove(name);
    let query = TapQuery {
        namespace,
        kind,
        name,
        to_namespace: take("to_namespace"),
        to_type,
        to_name: take("to_name"),
        method: take("method"),
        path: take("path"),
        authority: take("authority"),
        scheme: take("scheme"),
        max_rps,
    };
    match parameters.into_keys().find(|name| !KUBERNETES.contains(&name.as_str())) {
        None => Ok(query),
        Some(unknown) => Err(bad(format!(
            "there is no parameter {unknown:?}: there are to_namespace, to_type, to_name, method, path, authority, scheme, max_rps"
        ))),
    }
}

/// Parameters that clients of the Kubernetes API may add.
const KUBERNETES: [&str; 3] = ["watch", "timeout", "timeoutSeconds"];

fn bad(message: String) -> Failure {
    Failure::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(list: &[(&str, &str)]) -> HashMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_path_names_a_resource_or_a_namespace() {
        let deployment = Some(("deployments".to_owned(), "web".to_owned()));
        let query = read(
            "demo".into(),
            deployment,
            parameters(&[("max_rps", "5"), ("to_type", "service"), ("to_name", "db")]),
        )
        .unwrap();
        assert_eq!(
            (query.kind, query.name.as_str(), query.max_rps),
            (ResourceType::Deployment, "web", Some(5.0))
        );
        assert_eq!((query.to_type, query.to_name.as_deref()), (Some(ResourceType::Service), Some("db")));
        let query = read("demo".into(), None, parameters(&[])).unwrap();
        assert_eq!((query.kind, query.name.as_str()), (ResourceType::Namespace, "demo"));
    }

    #[test]
    fn mistakes_are_named() {
        let deployment = || Some(("deployments".to_owned(), "web".to_owned()));
        let refused = |resource, list: &[(&str, &str)]| {
            read("demo".into(), resource, parameters(list)).unwrap_err().message
        };
        assert!(
            refused(Some(("nodes".into(), "a".into())), &[])
                .contains("\"nodes\" cannot be tapped: write one of")
        );
        assert!(refused(deployment(), &[("max_rps", "x")]).contains("max_rps: \"x\" is not a number"));
        assert!(refused(deployment(), &[("to_type", "x")]).contains("to_type: \"x\" is not a type"));
        assert!(refused(deployment(), &[("max-rps", "1")]).contains("no parameter \"max-rps\""));
    }
}
