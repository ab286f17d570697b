//! The paths and names of a cluster's files, interfaces and cgroups.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Every cluster has a directory of its own below this one.
pub const BASE: &str = "/run/weft";

/// The paths of one cluster, all below `/run/weft/<id>`.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The cluster's name.
    pub id: String,
    /// `/run/weft/<id>`.
    pub root: PathBuf,
}

impl Layout {
    /// The layout of the cluster `id`, which must be usable as a file name.
    pub fn new(id: &str) -> Result<Self> {
        let usable = !id.is_empty()
            && !id.starts_with('.')
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !usable {
            return Err(Error::Manifests(format!(
                "`{id}` cannot be a cluster's name: only letters, digits, -, _ and . are allowed"
            )));
        }
        Ok(Self { id: id.to_owned(), root: Path::new(BASE).join(id) })
    }

    /// Held with flock(2) while the cluster's owner lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Network namespaces, each a bind mount of nsfs.
    pub fn netns_dir(&self) -> PathBuf {
        self.root.join("netns")
    }

    /// The network namespace of a pod.
    pub fn pod_netns(&self, pod: &PodKey) -> PathBuf {
        self.netns_dir().join(pod.file())
    }

    /// The network namespace of a node.
    pub fn node_netns(&self, node: &str) -> PathBuf {
        self.netns_dir().join(format!("node-{node}"))
    }

    /// The namespace whose bridge joins the nodes.
    pub fn fabric_netns(&self) -> PathBuf {
        self.netns_dir().join("fabric")
    }

    /// Mount and UTS namespaces of pods, each a bind mount of nsfs.
    pub fn ns_dir(&self) -> PathBuf {
        self.root.join("ns")
    }

    /// The mount namespace of a pod.
    pub fn pod_mntns(&self, pod: &PodKey) -> PathBuf {
        self.ns_dir().join(format!("{}.mnt", pod.file()))
    }

    /// The UTS namespace of a pod.
    pub fn pod_utsns(&self, pod: &PodKey) -> PathBuf {
        self.ns_dir().join(format!("{}.uts", pod.file()))
    }

    /// A pod's /etc/hosts.
    pub fn pod_hosts(&self, pod: &PodKey) -> PathBuf {
        self.root.join("hosts").join(pod.file())
    }

    /// What another process needs to know about a pod, as JSON.
    pub fn pod_state(&self, pod: &PodKey) -> PathBuf {
        self.pods_dir().join(format!("{}.json", pod.file()))
    }

    /// The directory of [`Layout::pod_state`].
    pub fn pods_dir(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The cluster's own bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.root.join("bpf")
    }

    /// weft-control's `--state`.
    pub fn control_state(&self) -> PathBuf {
        self.root.join("control")
    }

    /// weft-proxy's `--state-dir` of a node.
    pub fn proxy_state(&self, node: &str) -> PathBuf {
        self.root.join(format!("proxy-{node}"))
    }

    /// Manifests with the addresses and nodes that the cluster assigned.
    pub fn overlay_dir(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// One log per process group.
    pub fn logs_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of all containers of a pod.
    pub fn pod_log(&self, pod: &PodKey) -> PathBuf {
        self.logs_dir().join(format!("{}.log", pod.file()))
    }
}

/// A pod's name within its namespace: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PodKey {
    /// The key of the pod `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`; without a slash the namespace is `default`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new("default", text),
        }
    }

    /// `namespace_name`. Not ambiguous, because Kubernetes names have no underscore.
    pub fn file(&self) -> String {
        format!("{}_{}", self.namespace, self.name)
    }
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
