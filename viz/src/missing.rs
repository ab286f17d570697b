//! Says that a resource does not exist.

use weft_api::viz::{ErrorCode, Failure, ResourceRef, ResourceType};

/// The failure of a call that names a resource which does not exist.
pub(crate) fn missing(resource: &ResourceRef) -> Failure {
    let ResourceRef { namespace, kind, name } = resource;
    let message = match kind {
        ResourceType::Namespace => format!("Namespace {name} does not exist."),
        _ => format!("{kind} {name} does not exist in namespace {namespace}."),
    };
    let owner = match kind {
        ResourceType::ReplicaSet => ", or belong to a deployment, which stands for it",
        ResourceType::Job => ", or belong to a cronjob, which stands for it",
        _ => "",
    };
    Failure::new(ErrorCode::NotFound, message)
        .hint(format!("Its name may be misspelt, or it may have been deleted{owner}."))
}
