//! A cluster on one kernel: nodes, pods and weft's own processes.

mod config;
mod daemons;
mod observe;
mod pods;
mod process_start;
mod reconcile;
mod report;
mod start;
mod start_pods;
mod state;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use parking_lot::Mutex;

use crate::allot::NodeNet;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::layout::{Layout, PodKey};
use crate::leftovers::{self, Lock};
use crate::nft::{Protocol, ServicePort};

pub use self::config::{ClusterConfig, Manifests};
pub use self::report::Report;
pub use self::watch::Watcher;

use self::state::State;

/// How long pods may take to end when the whole cluster stops.
const STOP_GRACE: Duration = Duration::from_millis(1500);

/// A running cluster: nodes, pods, weft-control and a weft-proxy per node. Dropping it ends all of it.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    layout: Layout,
    nodes: BTreeMap<String, NodeNet>,
    cgroup_root: PathBuf,
    state: Mutex<State>,
    /// None once it is stopped.
    lock: Mutex<Option<Lock>>,
}

impl Cluster {
    /// The settings it was started with.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its nodes, in the order of the configuration.
    pub fn nodes(&self) -> &[String] {
        &self.config.nodes
    }

    /// The running pods and the nodes that they are on.
    pub fn pods(&self) -> BTreeMap<PodKey, String> {
        self.state.lock().pods.iter().map(|(key, pod)| (key.clone(), pod.facts.node.clone())).collect()
    }

    /// The path of a pod's network namespace; of a hostNetwork pod it is the node's.
    pub fn pod_netns(&self, pod: &str) -> Result<PathBuf> {
        self.with_pod(pod, |pod| pod.place.netns.clone())
    }

    /// A pod's addresses, IPv4 first unless its manifest says otherwise.
    pub fn pod_ips(&self, pod: &str) -> Result<Vec<IpAddr>> {
        self.with_pod(pod, |pod| pod.facts.ips.clone())
    }

    /// The log of a pod's containers.
    pub fn pod_log(&self, pod: &str) -> PathBuf {
        self.layout.pod_log(&PodKey::parse(pod))
    }

    /// A pod's cgroup.
    pub fn pod_cgroup(&self, pod: &str) -> Result<Cgroup> {
        self.with_pod(pod, |pod| pod.place.cgroup.clone())
    }

    /// How often the containers of a pod were started again.
    pub fn pod_restarts(&self, pod: &str) -> Result<u32> {
        self.with_pod(pod, |pod| pod.containers.iter().map(|container| container.restarts()).sum())
    }

    /// A service's ClusterIPs, by `namespace/name`; none: it is unknown or headless.
    pub fn cluster_ips(&self, service: &str) -> Vec<IpAddr> {
        let PodKey { namespace, name } = PodKey::parse(service);
        self.state.lock().services.get(&(namespace, name)).cloned().unwrap_or_default()
    }

    /// Where a TCP port of a service with a ClusterIP leads, by `namespace/name`.
    pub(crate) fn endpoints(&self, service: &str, port: u16) -> Vec<SocketAddr> {
        let ips = self.cluster_ips(service);
        let state = self.state.lock();
        let is_meant = |candidate: &&ServicePort| {
            candidate.port == port
                && candidate.protocol == Protocol::Tcp
                && candidate.ips.iter().any(|ip| ips.contains(ip))
        };
        state.ports.iter().find(is_meant).map(|port| port.endpoints.clone()).unwrap_or_default()
    }

    /// The path of a node's network namespace; its `wire` carries what goes to other nodes.
    pub fn node_netns(&self, node: &str) -> Result<PathBuf> {
        self.node_net(node).map(|_| self.layout.node_netns(node))
    }

    /// The network namespace of a node that does not have this address, if there is one: what comes from outside a cluster
    /// arrives over the wire, and is no health check of the node.
    pub(crate) fn netns_of_another_node(&self, ip: IpAddr) -> Result<PathBuf> {
        let other = self.nodes.iter().find(|(_, net)| !net.holds(ip));
        let node = other.or_else(|| self.nodes.iter().next()).map(|(node, _)| node.as_str());
        self.node_netns(node.unwrap_or_default())
    }

    /// A command that runs inside the pod (network, hostname, /etc/hosts, cgroup), to be completed and spawned.
    pub fn command(&self, pod: &str, program: &str) -> Result<Command> {
        let place = self.with_pod(pod, |pod| pod.place.clone())?;
        place.command(program)
    }

    /// The folder of manifests that says what runs.
    pub fn manifests(&self) -> PathBuf {
        self.config.manifests.folder(&self.layout)
    }

    /// Ends everything and removes every trace; a second call does nothing. Dropping does the same and ignores errors.
    pub fn stop(&self) -> Result<()> {
        let Some(lock) = self.lock.lock().take() else { return Ok(()) };
        let mut state = self.state.lock();
        let state = &mut *state;
        let pods = std::mem::take(&mut state.pods);
        for pod in pods.values() {
            pod.containers.iter().for_each(|container| container.forbid_restarts());
            pod.place.cgroup.signal(Signal::SIGTERM);
        }
        self.cgroup().child("pods").wait_empty(STOP_GRACE);
        let all = self.cgroup();
        all.kill();
        for (_, mut processes) in std::mem::take(&mut state.daemons) {
            processes.end();
        }
        for container in pods.into_values().flat_map(|pod| pod.containers) {
            container.join();
        }
        leftovers::remove(&self.layout, lock)
    }

    fn with_pod<T>(&self, name: &str, read: impl FnOnce(&state::Pod) -> T) -> Result<T> {
        let state = self.state.lock();
        match state.pods.get(&PodKey::parse(name)) {
            Some(pod) => Ok(read(pod)),
            None => Err(Error::NoPod {
                name: name.to_owned(),
                known: state.pods.keys().map(PodKey::to_string).collect(),
            }),
        }
    }

    fn node_net(&self, node: &str) -> Result<NodeNet> {
        self.nodes
            .get(node)
            .copied()
            .ok_or_else(|| Error::NoNode { name: node.to_owned(), known: self.config.nodes.clone() })
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::at(self.cgroup_root.join("weft").join(&self.layout.id))
    }

    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.config.binaries.join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("weft-vm: cluster {} could not be removed: {error}", self.layout.id);
        }
    }
}
