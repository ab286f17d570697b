//! Starts a cluster, step by step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use nix::mount::{MsFlags, mount};
use parking_lot::Mutex;

use super::state::State;
use super::{Cluster, ClusterConfig};
use crate::allot::NodeNet;
use crate::cgroup;
use crate::daemon::Daemon;
use crate::desired::Source;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::link::Links;
use crate::{leftovers, link, netns};

impl Cluster {
    /// Cleans up after dead clusters and starts one: networks, weft-control, weft-proxies, then the pods' processes,
    /// so that none of their connections is older than the mesh. What cannot start fails with the tail of its log.
    pub fn start(config: ClusterConfig) -> Result<Self> {
        let layout = Layout::new(&config.id)?;
        let nodes = number(&config.nodes)?;
        let cgroup_root = cgroup::root()?;
        leftovers::clean()?;
        let lock = leftovers::acquire(&layout)?;
        let source = Source::new(config.manifests.folder(&layout));
        // From here on Drop undoes what was done.
        let cluster = Self {
            config,
            layout,
            nodes,
            cgroup_root,
            state: Mutex::new(State::new(source)),
            lock: Mutex::new(Some(lock)),
        };
        cluster.make_directories()?;
        cluster.config.manifests.prepare(&cluster.layout)?;
        cluster.make_networks()?;
        cluster.first_reconcile()?;
        if cluster.config.mesh {
            cluster.start_daemon(&Daemon::Control)?;
            cluster.start_proxies()?;
        }
        cluster.state.lock().open = true;
        cluster.first_reconcile()?;
        Ok(cluster)
    }

    /// Keeps its report for the next one.
    fn first_reconcile(&self) -> Result<()> {
        let report = self.reconcile()?;
        self.state.lock().unreported = report;
        Ok(())
    }

    fn start_proxies(&self) -> Result<()> {
        thread::scope(|scope| {
            let start = |node: &String| self.start_daemon(&Daemon::Proxy(node.clone()));
            let starts: Vec<_> = self.nodes().iter().map(|node| scope.spawn(move || start(node))).collect();
            starts.into_iter().try_for_each(|start| match start.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn make_directories(&self) -> Result<()> {
        let layout = &self.layout;
        let root = &layout.root;
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).map_err(Error::io("chmod", root))?;
        // A private mount, so that the mounts below it are not copied elsewhere: a copy of a namespace's mount would keep
        // the namespace alive.
        mount(Some(root), root, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .and_then(|()| mount(None::<&str>, root, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>))
            .map_err(Error::system(format!("mount --bind --make-private {}", root.display())))?;
        let mut directories = vec![
            layout.netns_dir(),
            layout.ns_dir(),
            layout.pods_dir(),
            root.join("hosts"),
            layout.bpffs(),
            layout.control_state(),
            layout.overlay_dir(),
            layout.logs_dir(),
        ];
        directories.extend(self.nodes().iter().map(|node| layout.proxy_state(node)));
        for directory in directories {
            fs::create_dir(&directory).map_err(Error::io("create", &directory))?;
        }
        for private in
            [layout.control_state()].into_iter().chain(self.nodes().iter().map(|n| layout.proxy_state(n)))
        {
            fs::set_permissions(&private, fs::Permissions::from_mode(0o700))
                .map_err(Error::io("chmod", &private))?;
        }
        let bpffs = layout.bpffs();
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(Error::system(format!("mount -t bpf {}", bpffs.display())))
    }

    fn make_networks(&self) -> Result<()> {
        let fabric = self.layout.fabric_netns();
        netns::create(&fabric)?;
        link::fabric(&fabric)?;
        for (node, net) in &self.nodes {
            let path = self.layout.node_netns(node);
            netns::create(&path)?;
            link::node(&path, &fabric, *net)?;
        }
        if self.config.links == Links::Own {
            for (node, net) in &self.nodes {
                let others: Vec<_> = self.nodes.values().copied().filter(|other| other != net).collect();
                link::neighbours(&self.layout.node_netns(node), &others)?;
            }
        }
        for node in self.nodes.keys() {
            link::settle(&self.layout.node_netns(node), &[link::WIRE, link::BRIDGE])?;
        }
        let ports: Vec<_> = self.nodes.values().map(|net| link::fabric_port(*net)).collect();
        let links: Vec<_> = [link::BRIDGE].into_iter().chain(ports.iter().map(String::as_str)).collect();
        link::settle(&fabric, &links)
    }
}

fn number(nodes: &[String]) -> Result<BTreeMap<String, NodeNet>> {
    let numbered: BTreeMap<_, _> =
        nodes.iter().zip(1..=250).map(|(node, number)| (node.clone(), NodeNet { number })).collect();
    if numbered.len() != nodes.len() || nodes.is_empty() {
        return Err(Error::Manifests(format!(
            "{} nodes: 1 to 250 with different names are possible",
            nodes.len()
        )));
    }
    Ok(numbered)
}
