//! The state of a running cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod as Manifest, PodSpec};

use super::process_start::ProcessStart;
use super::report::Report;
use crate::allot::Allotter;
use crate::daemon::{Daemon, Processes};
use crate::desired::{ServiceKey, Source};
use crate::endpoints::Serving;
use crate::layout::PodKey;
use crate::nft::ServicePort;
use crate::overlay::PodFacts;
use crate::process::{Place, Supervised};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) source: Source,
    pub(crate) allotter: Allotter,
    pub(crate) pods: BTreeMap<PodKey, Pod>,
    /// ClusterIPs, of services that have any.
    pub(crate) services: BTreeMap<ServiceKey, Vec<IpAddr>>,
    /// The ports of those services, and where they lead.
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) daemons: BTreeMap<Daemon, Processes>,
    /// Pods' processes may start: true once the proxies are ready.
    pub(crate) open: bool,
    /// Makes the names of links and the UIDs of pods unique.
    pub(crate) serial: u32,
    /// The text that was written last: only changes are written.
    pub(crate) overlay: String,
    pub(crate) nft: String,
    /// Namespaces in which `nft` is applied.
    pub(crate) translated: BTreeSet<PathBuf>,
    pub(crate) hosts: BTreeMap<PodKey, String>,
    /// What the start did, to be part of the first report.
    pub(crate) unreported: Report,
    /// Remarks that were made already.
    pub(crate) said: BTreeSet<String>,
}

/// A pod that exists.
#[derive(Debug)]
pub(crate) struct Pod {
    /// If this changes, the pod is replaced.
    pub(crate) made_from: MadeFrom,
    pub(crate) facts: PodFacts,
    pub(crate) hostname: String,
    /// Its link's name on the node's bridge; None: it is in the node's network.
    pub(crate) port: Option<String>,
    pub(crate) place: Place,
    pub(crate) manifest: Manifest,
    pub(crate) start: ProcessStart,
    /// Why its processes could not be started.
    pub(crate) problem: Option<String>,
    pub(crate) containers: Vec<Supervised>,
}

/// The parts of a manifest that a running pod cannot take over. Labels and annotations it can.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MadeFrom {
    pub(crate) spec: Option<PodSpec>,
    pub(crate) ips: Vec<IpAddr>,
}

impl State {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            allotter: Allotter::default(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            ports: Vec::new(),
            daemons: BTreeMap::new(),
            open: false,
            serial: 0,
            overlay: String::new(),
            nft: String::new(),
            translated: BTreeSet::new(),
            hosts: BTreeMap::new(),
            unreported: Report::default(),
            said: BTreeSet::new(),
        }
    }

    /// The pods whose processes have not ended for good, and their addresses.
    pub(crate) fn serving(&self) -> Serving {
        self.pods
            .iter()
            .filter(|(_, pod)| pod.facts.phase == "Running")
            .map(|(key, pod)| (key.clone(), pod.facts.ips.clone()))
            .collect()
    }
}

impl Pod {
    /// As in a pod's status: ended for good when all of its containers did.
    pub(crate) fn phase(&self) -> &'static str {
        let mut success = true;
        for container in &self.containers {
            match container.ended() {
                None => return "Running",
                Some(one) => success &= one,
            }
        }
        match (self.containers.is_empty(), success) {
            (true, _) => "Running",
            (false, true) => "Succeeded",
            (false, false) => "Failed",
        }
    }
}
