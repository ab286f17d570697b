//! Finds fields that a policy does not have. A misspelt field would be no field, and the policy another one.

use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;

use super::{
    finding::Finding,
    path::{FieldPath, Segment},
};
use crate::model::{
    AuthorizationPolicy, Kind, MeshTLSAuthentication, NetworkAuthentication, Server, ServerAuthorization,
};

/// Fields of every document that are read elsewhere or by nobody.
const OF_DOCUMENTS: [&str; 3] = ["apiVersion", "kind", "status"];

/// The fields of a policy that no policy of this kind has. Other kinds may be of a newer Kubernetes than weft knows.
pub(super) fn fields(kind: Kind, value: &Value) -> Vec<Finding> {
    match kind {
        Kind::Server => of::<Server>("Server", value),
        Kind::ServerAuthorization => of::<ServerAuthorization>("ServerAuthorization", value),
        Kind::AuthorizationPolicy => of::<AuthorizationPolicy>("AuthorizationPolicy", value),
        Kind::MeshTLSAuthentication => of::<MeshTLSAuthentication>("MeshTLSAuthentication", value),
        Kind::NetworkAuthentication => of::<NetworkAuthentication>("NetworkAuthentication", value),
        _ => Vec::new(),
    }
}

fn of<T: DeserializeOwned>(kind: &str, value: &Value) -> Vec<Finding> {
    let mut unknown = Vec::new();
    // A value that cannot be read is found by `decode`.
    let _: Result<T, _> = serde_ignored::deserialize(value, |path| {
        let mut segments = Vec::new();
        collect(&path, &mut segments);
        if !matches!(segments.as_slice(), [Segment::Key(key)] if OF_DOCUMENTS.contains(&key.as_str())) {
            unknown.push(FieldPath::of(segments));
        }
    });
    let finding = |field| {
        Finding::new(
            field,
            format!("is no field of a {kind}"),
            "correct its name or remove it; docs/policy.md shows them all",
        )
    };
    unknown.into_iter().map(finding).collect()
}

fn collect(path: &Path<'_>, segments: &mut Vec<Segment>) {
    match path {
        Path::Root => {}
        Path::Seq { parent, index } => {
            collect(parent, segments);
            segments.push(Segment::Index(*index));
        }
        Path::Map { parent, key } => {
            collect(parent, segments);
            segments.push(Segment::Key(key.clone()));
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            collect(parent, segments);
        }
    }
}
