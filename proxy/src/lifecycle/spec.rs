//! What the control plane says about a workload, checked.

mod message;
mod mistake;
mod policies;

use std::{collections::BTreeMap, net::IpAddr};

use tracing::info;

use self::mistake::Mistake;
use crate::{
    capture,
    tls::Identity,
    workload::{Key, WorkloadConfig},
};

/// A workload as it should be served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) identity: Identity,
    pub(super) netns: String,
    pub(super) host_network: bool,
    pub(super) runtime_class: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) config: WorkloadConfig,
    pub(super) kernel: capture::KernelConfig,
    /// Connections that are older than its enrollment stay open.
    pub(super) keeps_earlier_connections: bool,
}

/// A message that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("workload {workload}: {mistake}; is weft-control of another version?")]
pub(super) struct SpecError {
    workload: String,
    mistake: Mistake,
}

impl Spec {
    /// Whether `other` is the same pod at the same addresses, so that it need not be enrolled anew.
    pub(super) fn same_pod(&self, other: &Spec) -> bool {
        self.uid == other.uid
            && self.netns == other.netns
            && self.kernel.ips == other.kernel.ips
            && self.identity == other.identity
            && self.host_network == other.host_network
    }

    /// Whether both are served in the same network namespace; `by_name`: pods of one name have one namespace.
    pub(super) fn same_netns(&self, other: &Spec, by_name: bool) -> bool {
        let told = by_name || !self.netns.is_empty();
        self.netns == other.netns && !self.host_network && (told || self.uid == other.uid)
    }

    /// The same pod, with these addresses if the control plane does not know any yet.
    pub(super) fn or_addresses(mut self, ips: &[IpAddr]) -> Self {
        if self.kernel.ips.is_empty() {
            self.kernel.ips = ips.to_vec();
        }
        self
    }

    /// Whether no other pod can reach the packets that go directly.
    pub(super) fn has_isolated_links(&self, netns: &capture::Netns, node: &capture::Netns) -> bool {
        let isolated = netns.has_links_of_its_own(node, &self.kernel.ips);
        if let Err(reason) = &isolated {
            info!(workload = %self.key, %reason, "other pods may share the pod's link: its connections go directly only with --direct-pass on");
        }
        isolated.is_ok()
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
