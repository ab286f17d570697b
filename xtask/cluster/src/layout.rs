//! The paths, names and addresses of a cluster.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The name of the cluster that commands mean unless told otherwise.
pub(crate) const DEFAULT_NAME: &str = "dev";
/// Not below /run, which is often in memory: images and etcd's data take hundreds of MB.
const BASE: &str = "/var/lib/weft-kubernetes";

pub(crate) const NODES: [&str; 2] = ["weft-a", "weft-b"];
/// The services' addresses, and those that have a fixed meaning.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// All pods' addresses; each node has a /24 of them.
pub(crate) const PODS: &str = "10.244.0.0/16";
pub(crate) const API_PORT: u16 = 6443;

/// A cluster's folder, `/var/lib/weft-kubernetes/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

/// What `up` has chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The first address of the /24 that the nodes and the API server are in.
    pub(crate) network: Ipv4Addr,
    /// The folder with `bin` and `images`.
    pub(crate) programs: PathBuf,
    /// All programs have been started once.
    pub(crate) complete: bool,
}

impl Layout {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let is_usable = !name.is_empty()
            && name.len() <= 10
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure!(
            is_usable,
            "`{name}` cannot be a cluster's name: up to 10 lowercase letters, digits and - are allowed"
        );
        Ok(Self { name: name.to_owned(), root: Path::new(BASE).join(name) })
    }

    /// Held with flock(2) while the cluster is started or removed.
    pub(crate) fn lock(&self) -> PathBuf {
        Path::new(BASE).join(format!("{}.lock", self.name))
    }

    fn state_file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// None: the cluster is not up.
    pub(crate) fn read_state(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file()).ok()?).ok()
    }

    /// [`Self::read_state`], or an error that says how to start the cluster.
    pub(crate) fn state(&self) -> Result<State> {
        match self.read_state() {
            Some(state) => Ok(state),
            None => bail!("no cluster {} is running: start it with `cargo xtask cluster up`", self.name),
        }
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        let file = self.state_file();
        fs::write(&file, serde_json::to_vec_pretty(state)?).with_context(|| file.display().to_string())
    }

    /// Keys and certificates, readable by root alone.
    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The administrator's kubeconfig, which belongs to the user who started the cluster.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// The logs of the control plane's programs.
    pub(crate) fn control_logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The network namespace of the control plane, with the bridge that joins the nodes.
    pub(crate) fn control_netns(&self) -> PathBuf {
        self.root.join("netns").join("control")
    }

    pub(crate) fn node_netns(&self, node: &str) -> PathBuf {
        self.root.join("netns").join(node)
    }

    /// Everything of a node.
    pub(crate) fn node(&self, node: &str) -> PathBuf {
        self.root.join("nodes").join(node)
    }

    /// What the node sees as /kubernetes/config.
    pub(crate) fn node_config(&self, node: &str) -> PathBuf {
        self.node(node).join("config")
    }

    /// What the node sees as /kubernetes/pki.
    pub(crate) fn node_pki(&self, node: &str) -> PathBuf {
        self.node(node).join("pki")
    }

    /// What the node sees as /var: images, pods' volumes and logs.
    pub(crate) fn node_var(&self, node: &str) -> PathBuf {
        self.node(node).join("var")
    }

    /// The mount point of the node's root directory.
    pub(crate) fn node_root(&self, node: &str) -> PathBuf {
        self.node(node).join("root")
    }

    /// The logs of the node's programs.
    pub(crate) fn node_logs(&self, node: &str) -> PathBuf {
        self.node_var(node).join("log").join("node")
    }

    /// Holds the process ID of the node's first process, as the host counts.
    pub(crate) fn node_pid(&self, node: &str) -> PathBuf {
        self.node(node).join("init.pid")
    }

    /// The name of its cgroup in every hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("weft-kubernetes-{}", self.name)
    }

    /// The host's link to the nodes.
    pub(crate) fn host_link(&self) -> String {
        format!("wk-{}", self.name)
    }
}

impl State {
    /// The API server's address.
    pub(crate) fn api(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The host's own address on the nodes' network.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.address(254)
    }

    /// The address of a node, counted from 0.
    pub(crate) fn node(&self, index: usize) -> Ipv4Addr {
        self.address(u8::try_from(index).unwrap_or(200) + 11)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.network.octets();
        Ipv4Addr::new(a, b, c, last)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join("bin").join(name)
    }
}

/// The range of a node's pods; nodes are counted from 0.
pub(crate) fn pod_range(index: usize) -> String {
    format!("10.244.{}.0/24", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        assert!(Layout::new("dev").is_ok());
        for name in ["", "../x", "a/b", "UPPER", "a-name-that-is-too-long"] {
            assert!(Layout::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn addresses_are_of_the_chosen_network() {
        let state = State { network: Ipv4Addr::new(10, 99, 7, 0), programs: PathBuf::new(), complete: false };
        assert_eq!(state.api().to_string(), "10.99.7.1");
        assert_eq!(state.node(1).to_string(), "10.99.7.12");
        assert_eq!(pod_range(1), "10.244.2.0/24");
    }
}
