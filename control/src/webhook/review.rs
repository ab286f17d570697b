//! Reviews one object, as the API server asks for it.

use kube::core::{
    DynamicObject, GroupVersionKind,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation},
};
use serde_json::Value;

use crate::{model::Kind, validation};

/// The answer to a review, with what the metrics count.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) review: AdmissionReview<DynamicObject>,
    pub(super) kind: &'static str,
    pub(super) result: &'static str,
}

/// Mistakes of one object that are told. Whoever has more fixes these first.
const MAX_FINDINGS: usize = 20;

/// Reads a review (JSON) and answers it.
///
/// # Errors
/// Why the text is not a review.
pub(super) fn answer(body: &[u8]) -> Result<Answer, String> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(|error| format!("this is not an AdmissionReview: {error}"))?;
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|_| "this AdmissionReview has no field `request`".to_owned())?;
    let response = AdmissionResponse::from(&request);
    let Some(kind) = kind(&request.kind) else {
        return Ok(Answer { review: response.into_review(), kind: "other", result: "allowed" });
    };
    let (response, result) = match check(kind, &request) {
        Ok(()) => (response, "allowed"),
        Err(reason) => {
            tracing::info!(
                namespace = request.namespace.as_deref().unwrap_or_default(),
                name = request.name,
                "refused {kind}: {reason}"
            );
            (response.deny(reason), "refused")
        }
    };
    Ok(Answer { review: response.into_review(), kind: kind_name(kind), result })
}

/// The kinds that nobody else checks.
fn kind(kind: &GroupVersionKind) -> Option<Kind> {
    let kind = Kind::of(&kind.api_version(), &kind.kind)?;
    (kind_name(kind) != "other").then_some(kind)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "Server",
        Kind::ServerAuthorization => "ServerAuthorization",
        Kind::AuthorizationPolicy => "AuthorizationPolicy",
        Kind::MeshTLSAuthentication => "MeshTLSAuthentication",
        Kind::NetworkAuthentication => "NetworkAuthentication",
        _ => "other",
    }
}

/// # Errors
/// What is wrong with the object.
fn check(kind: Kind, request: &AdmissionRequest<DynamicObject>) -> Result<(), String> {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let Some(object) = &request.object else { return Err("the review has no object".into()) };
    // An object that is being deleted changes only its finalizers; refusing that would keep it forever.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut object = serde_json::to_value(object).map_err(|error| error.to_string())?;
    complete(&mut object, request);
    let Err(findings) = validation::object(kind, &object).and_then(validation::complete) else {
        return Ok(());
    };
    let count = findings.len();
    let mut lines: Vec<_> = findings.iter().take(MAX_FINDINGS).map(ToString::to_string).collect();
    if count > MAX_FINDINGS {
        lines.push(format!("and {} more", count - MAX_FINDINGS));
    }
    Err(lines.join(". "))
}

/// Adds what the API server has not filled in yet: the name if it is generated, and the namespace.
fn complete(object: &mut Value, request: &AdmissionRequest<DynamicObject>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(namespace) = &request.namespace {
        metadata.entry("namespace").or_insert_with(|| namespace.clone().into());
    }
    metadata.entry("name").or_insert_with(|| "generated".into());
}

#[cfg(test)]
mod tests;
