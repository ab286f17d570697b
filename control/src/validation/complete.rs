//! Finds what is missing in an object, which an overlay of manifests alone may leave out.

use super::{finding::Finding, path::field};
use crate::model::Object;

/// The object, if nothing is missing that its meaning depends on.
pub(crate) fn complete(object: Object) -> Result<Object, Vec<Finding>> {
    match missing(&object) {
        Some(finding) => Err(vec![finding]),
        None => Ok(object),
    }
}

fn missing(object: &Object) -> Option<Finding> {
    match object {
        Object::Server(server) if server.spec.port.is_none() => Some(Finding::new(
            field!("spec", "port"),
            "is missing, so this Server is for no port",
            "write the number or name of a port of the pods",
        )),
        Object::ServerAuthorization(authorization) => {
            let server = &authorization.spec.server;
            (server.name.is_none() && server.selector.is_none()).then(|| {
                Finding::new(
                    field!("spec", "server"),
                    "names no Server",
                    "write the name of one Server or a selector of several",
                )
            })
        }
        Object::AuthorizationPolicy(policy) if policy.spec.target_ref.kind.is_empty() => Some(Finding::new(
            field!("spec", "targetRef"),
            "is missing",
            "write kind: Namespace, or group: policy.linkerd.io and kind: Server, with a name",
        )),
        Object::NetworkAuthentication(object) if object.spec.networks.is_empty() => Some(Finding::new(
            field!("spec", "networks"),
            "names nobody",
            "write at least one network, as in 10.0.0.0/8",
        )),
        _ => None,
    }
}
