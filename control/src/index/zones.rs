//! The zones of nodes, as Node objects, pods and slices name them.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::{api::discovery::v1::EndpointSlice, apimachinery::pkg::apis::meta::v1::ObjectMeta};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Who names a zone. A Node counts most; on the dev VM there are no Nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Witness {
    Node,
    Pod,
    Slice,
}

/// How many objects name which zone for a node.
#[derive(Debug, Default)]
pub(super) struct Zones {
    named: HashMap<String, BTreeMap<(Witness, String), usize>>,
}

impl Zones {
    pub(super) fn add(&mut self, node: &str, witness: Witness, zone: &str) {
        let zones = self.named.entry(node.to_owned()).or_default();
        *zones.entry((witness, zone.to_owned())).or_default() += 1;
    }

    pub(super) fn remove(&mut self, node: &str, witness: Witness, zone: &str) {
        let Some(zones) = self.named.get_mut(node) else { return };
        let key = (witness, zone.to_owned());
        if let Some(count) = zones.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                zones.remove(&key);
            }
        }
        if zones.is_empty() {
            self.named.remove(node);
        }
    }

    pub(super) fn get(&self, node: &str) -> Option<&str> {
        self.named.get(node)?.keys().next().map(|(_, zone)| zone.as_str())
    }
}

/// The zone that the labels of a pod or Node name.
pub(super) fn of_labels(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(ZONE_LABEL).map(String::as_str)
}

/// The nodes that a slice names with their zones.
pub(super) fn of_slice(slice: &EndpointSlice) -> impl Iterator<Item = (&str, &str)> {
    slice
        .endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint.node_name.as_deref()?, endpoint.zone.as_deref()?)))
}
