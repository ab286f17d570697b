//! Knows which objects depend on which others.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};

use super::{endpoints::target_pod, multimap::Multimap, owner::controller, pod::Pod};
use crate::model::{Key, Kind, Name, Object};

/// The label that says which service a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

#[derive(Debug, Default)]
pub(super) struct Links {
    /// The objects that an owner controls.
    owned: Multimap<Key, Key>,
    slices_of_service: Multimap<Name, Name>,
    services_of_pod: Multimap<Name, (Name, Name)>,
    services_of_ip: Multimap<IpAddr, (Name, Name)>,
    /// Services by one label of their selector.
    services_by_label: Multimap<u64, Name>,
    pods_by_label: Multimap<u64, Name>,
}

impl Links {
    /// Takes notice of a changed object.
    pub(super) fn update(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        if let Some(object) = before {
            self.change(key, object, false);
        }
        if let Some(object) = after {
            self.change(key, object, true);
        }
    }

    fn change(&mut self, key: &Key, object: &Object, add: bool) {
        let name = Name::from(key);
        match object {
            Object::Pod(_) | Object::MetadataOnly(..) => {
                if let Some((owner, _)) = controller(object.metadata()) {
                    set(&mut self.owned, owner, key.clone(), add);
                }
            }
            Object::Service(service) => {
                if let Some((label, value)) = selector(service).and_then(|labels| labels.first_key_value()) {
                    set(&mut self.services_by_label, label_hash(&name.namespace, label, value), name, add);
                }
            }
            Object::EndpointSlice(slice) => {
                let Some(service) = service_of(key, slice) else { return };
                set(&mut self.slices_of_service, service.clone(), name.clone(), add);
                let link = (service, name);
                for endpoint in &slice.endpoints {
                    if let Some(pod) = target_pod(endpoint, &key.namespace) {
                        set(&mut self.services_of_pod, pod, link.clone(), add);
                    }
                    if let Some(Ok(ip)) = endpoint.addresses.first().map(|ip| ip.parse::<IpAddr>()) {
                        set(&mut self.services_of_ip, ip.to_canonical(), link.clone(), add);
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes notice of a pod that was built again.
    pub(super) fn update_pod(&mut self, before: Option<&Pod>, after: Option<&Pod>) {
        for (pod, add) in before.map(|pod| (pod, false)).into_iter().chain(after.map(|pod| (pod, true))) {
            for (label, value) in &pod.labels {
                let hash = label_hash(&pod.name.namespace, label, value);
                set(&mut self.pods_by_label, hash, pod.name.clone(), add);
            }
        }
    }

    /// The pods that an owner controls, directly or through other owners.
    pub(super) fn pods_of_owner(&self, owner: &Key) -> BTreeSet<Name> {
        let (mut pods, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![owner]);
        while let Some(owner) = open.pop() {
            for owned in self.owned.get(owner) {
                match owned.kind {
                    Kind::Pod => _ = pods.insert(Name::from(owned)),
                    _ if seen.insert(owned) => open.push(owned),
                    _ => {}
                }
            }
        }
        pods
    }

    /// The services that may have the pod as an endpoint.
    pub(super) fn services_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Name> {
        let by_label = pod.labels.iter().flat_map(|(label, value)| {
            let services = self.services_by_label.get(&label_hash(&pod.name.namespace, label, value));
            // A service with slices does not look at its selector.
            services.filter(|service| !self.slices_of_service.contains_key(service))
        });
        let by_ip = pod.ips.iter().flat_map(|ip| self.services_of_ip.get(ip));
        let by_slice = self.services_of_pod.get(&pod.name).chain(by_ip).map(|(service, _)| service);
        by_label.chain(by_slice)
    }

    pub(super) fn slices_of(&self, service: &Name) -> impl Iterator<Item = &Name> {
        self.slices_of_service.get(service)
    }

    /// The pods that may have all of these labels.
    pub(super) fn pods_with_label<'a>(
        &'a self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Name> {
        let first = labels.first_key_value();
        let hash = first.map(|(label, value)| label_hash(namespace, label, value));
        hash.into_iter().flat_map(|hash| self.pods_by_label.get(&hash))
    }
}

/// The service that a slice belongs to.
pub(super) fn service_of(key: &Key, slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Name { namespace: key.namespace.clone(), name: service.clone() })
}

fn selector(service: &v1::Service) -> Option<&BTreeMap<String, String>> {
    service.spec.as_ref()?.selector.as_ref()
}

/// Two labels with the same hash only cost a needless look.
fn label_hash(namespace: &str, label: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, label, value).hash(&mut hasher);
    hasher.finish()
}

fn set<K: Eq + Hash, V: Ord>(map: &mut Multimap<K, V>, key: K, value: V, add: bool) {
    match add {
        true => map.insert(key, value),
        false => map.remove(&key, &value),
    }
}
