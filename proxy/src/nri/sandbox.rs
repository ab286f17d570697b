//! A pod as the container runtime knows it: its sandbox.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::messages::PodSandbox;

/// The annotation by which a pod says whether it is meshed.
const INJECT: &str = "linkerd.io/inject";
/// The annotation by which a pod says what happens to its connections while no proxy serves it.
const FAIL_MODE: &str = "config.weft.dev/fail-mode";

/// A pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's name for it. A pod whose sandbox is made anew has another one.
    pub id: String,
    /// The pod's uid in Kubernetes.
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// Where its network namespace is mounted on the node. `None`: it shares the node's.
    pub netns: Option<PathBuf>,
    pub ips: Vec<IpAddr>,
    /// What the pod's own annotation `linkerd.io/inject` says.
    pub inject: Option<String>,
    /// What the pod's own annotation `config.weft.dev/fail-mode` says.
    pub fail_mode: Option<String>,
    /// The name under which the runtime's configuration knows how to run the pod.
    pub runtime_handler: String,
    /// The first process of the pod; 0 if the runtime does not say.
    pub pid: u32,
}

/// What a plugin does about pods.
pub trait PodEvents: Send + Sync + 'static {
    /// These are all pods that the runtime has.
    fn synchronize(&self, sandboxes: Vec<Sandbox>);

    /// A pod has its network, and its containers do not start before this returns, within `limit`.
    ///
    /// # Errors
    /// Why the pod must not start. The kubelet tries again.
    fn run(&self, sandbox: Sandbox, limit: Duration) -> impl Future<Output = Result<(), String>> + Send;

    /// A sandbox's containers have stopped, and it is about to lose its network.
    fn stopped(&self, id: &str);

    /// The runtime has removed a sandbox.
    fn removed(&self, id: &str);
}

impl Sandbox {
    /// Whether the pod itself asks to be meshed, whatever its namespace says.
    pub fn asks(&self) -> bool {
        self.inject.as_deref() == Some("enabled")
    }
}

impl From<PodSandbox> for Sandbox {
    fn from(mut pod: PodSandbox) -> Self {
        let namespaces = pod.linux.unwrap_or_default().namespaces;
        let netns = namespaces
            .into_iter()
            .find(|namespace| namespace.kind == "network" && !namespace.path.is_empty())
            .map(|namespace| PathBuf::from(namespace.path));
        Sandbox {
            id: pod.id,
            uid: pod.uid,
            namespace: pod.namespace,
            name: pod.name,
            netns,
            ips: pod.ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            inject: pod.annotations.remove(INJECT),
            fail_mode: pod.annotations.remove(FAIL_MODE),
            runtime_handler: pod.runtime_handler,
            pid: pod.pid,
        }
    }
}
