//! How objects arrive from the API server, and what is kept of them.

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    model::{Key, Kind, Object},
    settings::{BadAnnotation, NETNS},
    validation::{self, Finding},
};

/// An object of a list or a watch.
pub(super) trait Arrival: DeserializeOwned + Clone + Send + 'static {
    /// Whether `object` can fail.
    const IS_CHECKED: bool = false;

    fn key(&self, kind: Kind) -> Key;
    fn version(&self) -> Option<&str>;
    /// Removes the annotations that nobody may set on an object of the API server.
    fn refuse_annotations(&mut self) -> Vec<BadAnnotation> {
        Vec::new()
    }

    /// What the index keeps.
    fn object(self, kind: Kind) -> Result<Object, Vec<Finding>>;
}

/// The metadata of an object.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    metadata: ObjectMeta,
}

/// An object of a kind that the API server knows by a CustomResourceDefinition only, so that nobody has checked its
/// meaning.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Custom(Value);

/// Kinds of Kubernetes itself: the API server has checked them.
macro_rules! arrives_as_it_is {
    ($($kind:ident $($refuse:ident)?),*) => {$(
        impl Arrival for $kind {
            $(
                fn refuse_annotations(&mut self) -> Vec<BadAnnotation> {
                    $refuse(&mut self.metadata)
                }
            )?

            fn key(&self, kind: Kind) -> Key {
                key(kind, &self.metadata)
            }

            fn version(&self) -> Option<&str> {
                self.metadata.resource_version.as_deref()
            }

            fn object(self, _: Kind) -> Result<Object, Vec<Finding>> {
                Ok(Object::$kind(Box::new(self)).trimmed())
            }
        }
    )*};
}

arrives_as_it_is!(Namespace, Service, EndpointSlice, Pod refuse_netns);

/// Whoever may create pods in one namespace could name the network namespace of a pod in another one, and would get its
/// traffic. On Kubernetes the container runtime says where a pod's network namespace is.
fn refuse_netns(pod: &mut ObjectMeta) -> Vec<BadAnnotation> {
    let found = pod.annotations.as_mut().and_then(|annotations| annotations.remove(NETNS));
    let refused = found.map(|_| BadAnnotation {
        name: NETNS.to_owned(),
        reason: "it is for machines without Kubernetes".to_owned(),
        advice: "remove it: the container runtime says where the pod's network namespace is".to_owned(),
    });
    refused.into_iter().collect()
}

impl Arrival for Metadata {
    fn key(&self, kind: Kind) -> Key {
        key(kind, &self.metadata)
    }

    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    fn object(self, kind: Kind) -> Result<Object, Vec<Finding>> {
        Ok(match kind {
            Kind::ServiceAccount => Object::ServiceAccount(Box::new(ServiceAccount {
                metadata: self.metadata,
                ..ServiceAccount::default()
            })),
            kind => Object::MetadataOnly(kind, Box::new(self.metadata)),
        }
        .trimmed())
    }
}

impl Arrival for Custom {
    const IS_CHECKED: bool = true;

    fn key(&self, kind: Kind) -> Key {
        let text = |field| self.0["metadata"][field].as_str();
        Key::new(kind, text("namespace"), text("name").unwrap_or_default())
    }

    fn version(&self) -> Option<&str> {
        self.0["metadata"]["resourceVersion"].as_str()
    }

    fn object(self, kind: Kind) -> Result<Object, Vec<Finding>> {
        validation::object(kind, &self.0).map(Object::trimmed)
    }
}

fn key(kind: Kind, metadata: &ObjectMeta) -> Key {
    Key::new(kind, metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_pod_cannot_choose_its_network_namespace() {
        let annotation = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let annotations = BTreeMap::from([
            annotation("linkerd.io/inject", "enabled"),
            annotation("config.weft.dev/netns", "/run/netns/of-another-pod"),
        ]);
        let mut pod = Pod {
            metadata: ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() },
            ..Pod::default()
        };
        let refused = pod.refuse_annotations();
        assert_eq!(refused.len(), 1);
        assert!(refused[0].advice.contains("container runtime"), "{refused:?}");
        let object = pod.object(Kind::Pod).expect("a pod");
        let kept = object.metadata().annotations.clone().unwrap_or_default();
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["linkerd.io/inject"]);
    }
}
