//! What must be built again after a change of objects.

use std::collections::BTreeSet;

use super::{
    authorization::references,
    cluster::Cluster,
    links::{Links, service_of},
    store::Store,
};
use crate::model::{Key, Kind, Name, Object};

#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) pods: BTreeSet<Name>,
    pub(super) services: BTreeSet<Name>,
    /// Namespaces whose Servers or authorizations changed.
    pub(super) servers: BTreeSet<String>,
    /// Nodes whose zone may have changed.
    pub(super) nodes: BTreeSet<String>,
}

impl Dirty {
    /// Adds what depends on the object `key`, which was `before`. The rest is as after the change.
    pub(super) fn add(
        &mut self,
        key: &Key,
        before: Option<&Object>,
        store: &Store,
        links: &Links,
        cluster: &Cluster,
    ) {
        match key.kind {
            Kind::Pod => _ = self.pods.insert(key.into()),
            Kind::Service => _ = self.services.insert(key.into()),
            Kind::EndpointSlice => {
                for object in before.into_iter().chain(store.get(key)) {
                    if let Object::EndpointSlice(slice) = object {
                        self.services.extend(service_of(key, slice));
                    }
                }
            }
            Kind::Namespace => {
                let names = |kind| store.in_namespace(kind, &key.name).map(|(key, _)| Name::from(key));
                self.pods.extend(names(Kind::Pod));
                self.services.extend(names(Kind::Service));
            }
            Kind::Node => self.pods.extend(cluster.pods_on(&key.name).iter().map(|pod| pod.name.clone())),
            Kind::Deployment
            | Kind::ReplicaSet
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::Job
            | Kind::CronJob => self.pods.extend(links.pods_of_owner(key)),
            Kind::Server | Kind::ServerAuthorization | Kind::AuthorizationPolicy => {
                self.servers.insert(key.namespace.clone());
            }
            Kind::MeshTLSAuthentication | Kind::NetworkAuthentication => {
                for (referring, object) in store.of_kind(Kind::AuthorizationPolicy) {
                    if let Object::AuthorizationPolicy(policy) = object
                        && references(referring, policy).any(|referred| referred == *key)
                    {
                        self.servers.insert(referring.namespace.clone());
                    }
                }
            }
            // A pod's identity comes from the name in its spec.
            Kind::ServiceAccount => {}
        }
    }
}
