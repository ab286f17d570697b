//! Turns a JSON value into an object, or says what is wrong with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{finding::Finding, path::FieldPath, unknown, validate};
use crate::model::{Kind, Object};

/// The error names each field that is wrong.
pub(crate) fn object(kind: Kind, value: &Value) -> Result<Object, Vec<Finding>> {
    let object = read(kind, value).map_err(|finding| vec![finding])?;
    let findings = validate::findings(&object);
    if findings.is_empty() { Ok(object) } else { Err(findings) }
}

/// As [`object`], for what a person has written: a policy has no fields that no policy has. An overlay may lack fields.
pub(crate) fn written(kind: Kind, value: &Value) -> Result<Object, Vec<Finding>> {
    let unknown = unknown::fields(kind, value);
    let object = object(kind, value);
    if unknown.is_empty() {
        return object;
    }
    Err(unknown.into_iter().chain(object.err().unwrap_or_default()).collect())
}

fn read(kind: Kind, value: &Value) -> Result<Object, Finding> {
    Ok(match kind {
        Kind::Namespace => Object::Namespace(deserialize(value)?),
        Kind::ServiceAccount => Object::ServiceAccount(deserialize(value)?),
        Kind::Service => Object::Service(deserialize(value)?),
        Kind::EndpointSlice => Object::EndpointSlice(deserialize(value)?),
        Kind::Pod => Object::Pod(deserialize(value)?),
        Kind::Server => Object::Server(deserialize(value)?),
        Kind::ServerAuthorization => Object::ServerAuthorization(deserialize(value)?),
        Kind::AuthorizationPolicy => Object::AuthorizationPolicy(deserialize(value)?),
        Kind::MeshTLSAuthentication => Object::MeshTLSAuthentication(deserialize(value)?),
        Kind::NetworkAuthentication => Object::NetworkAuthentication(deserialize(value)?),
        Kind::Node
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::Job
        | Kind::CronJob => Object::MetadataOnly(kind, deserialize::<MetadataOnly>(value)?.metadata),
    })
}

/// A document whose metadata is all that weft reads.
#[derive(Deserialize)]
struct MetadataOnly {
    #[serde(default)]
    metadata: Box<ObjectMeta>,
}

fn deserialize<T: DeserializeOwned>(value: &Value) -> Result<Box<T>, Finding> {
    serde_path_to_error::deserialize(value).map(Box::new).map_err(|error| {
        Finding::new(
            FieldPath::from(error.path()),
            error.inner().to_string(),
            "write it as the Kubernetes API reference says",
        )
    })
}
