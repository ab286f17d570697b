//! Clusters of scenarios.
//!
//! [`mesh`] begins the description of a cluster, [`Mesh`] is a running one; [`Pod`], [`Service`], [`Proxy`] and
//! [`Control`] are handles on its parts.

pub mod artefacts;
mod change;
mod control;
mod describe;
mod pod;
mod proxy;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use weft_vm::{Cluster, ClusterConfig, Watcher};

pub use self::{
    control::Control,
    describe::{Description, NAMESPACE, PodSpec, ServiceSpec, mesh},
    pod::Pod,
    proxy::{Proxy, Watch},
    yaml::server,
};
use crate::{netns::Netns, wait};

pub const NODES: [&str; 2] = ["a", "b"];

/// A running cluster of two nodes.
pub struct Mesh {
    /// `None` after the stop; a scenario that hangs then fails.
    cluster: Mutex<Option<Running>>,
    manifests: TempDir,
    pods: Mutex<BTreeMap<String, PodSpec>>,
    proxies: Vec<Proxy>,
    control: Control,
    next_port: AtomicU16,
    problems: Problems,
}

/// Problems with the manifests since the start.
type Problems = Arc<Mutex<BTreeSet<String>>>;

struct Running {
    /// Dropped before the cluster is stopped.
    _watcher: Watcher,
    cluster: Arc<Cluster>,
}

/// A service's cluster IPs.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl Mesh {
    fn start(description: Description) -> Result<Self> {
        let manifests = tempfile::Builder::new().prefix("weft-manifests-").tempdir()?;
        write_all(&manifests, &description)?;

        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut config = ClusterConfig::new(format!("t{}-{number}", std::process::id()), manifests.path());
        config.nodes = NODES.map(str::to_owned).to_vec();
        config.binaries = artefacts::target_directory()?.join("debug");
        config.links = description.links;
        config.control_args = description.control_args;
        config.proxy_args = description.proxy_args;
        config.taps = description.taps;
        config.ready_timeout = wait::here(config.ready_timeout);
        config.env.extend(description.env);
        let cluster = Arc::new(Cluster::start(config).with_context(|| description.name.clone())?);

        let problems = Problems::default();
        let noted = problems.clone();
        let watcher = Watcher::start(cluster.clone(), move |result| {
            let found = result.map_or_else(|e| vec![e.to_string()], |report| report.problems);
            noted.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        })?;
        let mesh = Self {
            proxies: NODES.iter().map(|node| Proxy::of(&cluster, node)).collect(),
            control: Control::of(&cluster),
            cluster: Mutex::new(Some(Running { _watcher: watcher, cluster })),
            manifests,
            pods: Mutex::new(description.pods.into_iter().map(|pod| (pod.name.clone(), pod)).collect()),
            next_port: AtomicU16::new(8000),
            problems,
        };
        mesh.until_enrolled().map_err(|e| mesh.with_problems(e))?;
        Ok(mesh)
    }

    /// Stops the cluster; fails if something cannot be removed.
    pub fn stop(&self) -> Result<()> {
        let running = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { _watcher: watcher, cluster }) = running {
            drop(watcher);
            if let Some(cluster) = Arc::into_inner(cluster) {
                cluster.stop()?;
            }
        }
        Ok(())
    }

    /// A pod, by its name.
    ///
    /// # Panics
    /// If it does not exist, which is a mistake of the scenario.
    pub fn pod(&self, name: &str) -> Pod<'_> {
        Pod::of(self, name).unwrap_or_else(|e| panic!("pod {name}: {e:#}"))
    }

    /// Whether a pod of this name runs.
    pub fn holds_pod(&self, name: &str) -> bool {
        Pod::of(self, name).is_ok()
    }

    /// A service, by its name.
    ///
    /// # Panics
    /// If it does not exist or lacks a cluster IP of a family, which is a mistake of the scenario.
    pub fn service(&self, name: &str) -> Service {
        self.find_service(name).unwrap_or_else(|e| panic!("service {name}: {e:#}"))
    }

    /// The network namespace of a node.
    ///
    /// # Panics
    /// If it does not exist, which is a mistake of the scenario.
    pub fn node(&self, name: &str) -> Netns {
        let path = self.cluster().and_then(|cluster| Ok(cluster.node_netns(name)?));
        Netns::at(path.unwrap_or_else(|e| panic!("node {name}: {e:#}")))
    }

    /// A node's own addresses, one of each family, by which its pods reach it.
    pub fn node_addresses(&self, node: &str) -> Result<[IpAddr; 2]> {
        let number = 1 + NODES.iter().position(|name| *name == node).context("no such node")?;
        Ok([format!("10.244.{number}.1").parse()?, format!("fd00:10:244:{number}::1").parse()?])
    }

    /// The proxy of a node.
    ///
    /// # Panics
    /// If the node does not exist, which is a mistake of the scenario.
    pub fn proxy(&self, node: &str) -> &Proxy {
        self.proxies.iter().find(|proxy| proxy.node() == node).unwrap_or_else(|| panic!("no node {node}"))
    }

    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The resident memory of all proxies, in bytes.
    pub fn proxies_memory(&self) -> Result<u64> {
        self.proxies.iter().map(Proxy::memory).sum()
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The names and pids of the proxies and the control plane.
    pub fn processes(&self) -> Result<Vec<(String, u32)>> {
        let proxies = self.proxies.iter().map(|proxy| Ok((proxy.to_string(), proxy.pid()?)));
        proxies.chain([self.control.pid().map(|pid| ("control".to_owned(), pid))]).collect()
    }

    /// The names of all declared pods.
    pub fn pod_names(&self) -> Vec<String> {
        self.specs().keys().cloned().collect()
    }

    /// The folder in which a node's eBPF maps and links are pinned.
    pub fn pins(&self, node: &str) -> Result<PathBuf> {
        Ok(self.cluster()?.layout().bpffs().join(node))
    }

    /// The folder of all files of the cluster.
    pub fn folder(&self) -> Result<PathBuf> {
        let bpffs = self.cluster()?.layout().bpffs();
        Ok(bpffs.parent().context("the folder of the cluster")?.to_owned())
    }

    /// The folder of its manifests.
    pub fn manifests(&self) -> &Path {
        self.manifests.path()
    }

    /// A port above 8000 that no other scenario of this cluster uses.
    pub fn unused_port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// Problems that the cluster reported about its manifests.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Adds the reported problems to an error of the start: they are most likely the reason.
    fn with_problems(&self, error: anyhow::Error) -> anyhow::Error {
        let problems = self.problems();
        if problems.is_empty() { error } else { anyhow!("{error:#}; {}", problems.join("; ")) }
    }

    /// Sets the marks of all logs, at the beginning of a scenario.
    pub fn mark_logs(&self) {
        self.proxies.iter().for_each(|proxy| proxy.log().mark());
        self.control.log().mark();
    }

    fn find_service(&self, name: &str) -> Result<Service> {
        let ips = self.cluster()?.cluster_ips(&format!("{NAMESPACE}/{name}"));
        let (v4, v6) = both(&ips)?;
        Ok(Service { v4, v6 })
    }

    /// What runs it. A scenario must not keep it: the cluster could not be stopped.
    pub fn cluster(&self) -> Result<Arc<Cluster>> {
        let running = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.cluster.clone()).context("the cluster has been stopped")
    }

    fn specs(&self) -> MutexGuard<'_, BTreeMap<String, PodSpec>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// A port of its IPv4 address.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// A port of its IPv6 address.
    pub fn at6(&self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }
}

fn write_all(manifests: &TempDir, description: &Description) -> Result<()> {
    let write = |name: &str, text: String| fs::write(manifests.path().join(name), text);
    write("namespace.yaml", yaml::namespace())?;
    for pod in &description.pods {
        write(&change::pod_file(&pod.name), yaml::pod(pod))?;
    }
    for service in &description.services {
        write(&format!("service-{}.yaml", service.name), yaml::service(service))?;
    }
    for (name, text) in &description.files {
        write(name, text.clone())?;
    }
    Ok(())
}

/// One address of each family.
fn both(ips: &[IpAddr]) -> Result<(Ipv4Addr, Ipv6Addr)> {
    let v4 = ips.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
    let v6 = ips.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
    Ok((v4.context("no IPv4 address")?, v6.context("no IPv6 address")?))
}
