//! The cluster that everything is measured on: a client, two servers and the pairs of other proxies.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use weft_vm::{Cluster, ClusterConfig, Daemon, Manifests, link::Links};

use super::{
    case::Kind,
    forward::Forward,
    load::{Server, Target},
    pair::Pair,
    ports::{self, EXEMPT, OPAQUE, SPLICED, served},
    variant::{Peer, Place, Route, VARIANTS},
};
use crate::{metrics, netns::Netns, texts::change, wait};

/// Both nodes, in the order of [`Testbed::metrics`].
const NODES: [&str; 2] = ["a", "b"];
const NAMESPACE: &str = "bench";
const CLIENT: &str = "client";
/// Hundreds of pods take long on a busy machine.
const SERVED_TIMEOUT: Duration = Duration::from_secs(180);
/// Labels of `weft_capture_total`: connections that went directly, not through the proxy.
pub(super) const DIRECT: [(&str, &str); 2] = [("hook", "connect"), ("outcome", "direct")];

/// A client and two servers, in the same three network namespaces for all variants.
pub struct Testbed {
    pairs: Vec<(Peer, Pair)>,
    servers: Vec<(Place, Ipv4Addr, Server)>,
    client: Netns,
    cluster: Cluster,
    /// Certificates and configurations of the pairs.
    folder: TempDir,
}

impl Testbed {
    /// Starts everything, with weft-proxy and weft-control from `binaries`.
    pub fn start(binaries: &Path, links: Links) -> Result<Self> {
        let cluster = start("bench", binaries, links, vec![("bench.yaml".to_owned(), manifests())])?;
        until_served(&cluster, &[2, 1])?;
        let netns = |pod: &str| Ok::<_, anyhow::Error>(Netns::at(cluster.pod_netns(&key(pod))?));
        let client = netns(CLIENT)?;
        client.run(prepare)?.context("settings of the client's namespace")?;
        let mut servers = Vec::new();
        for place in [Place::Far, Place::Near] {
            let pod = place.pod();
            netns(pod)?.run(prepare)?.with_context(|| format!("settings of {pod}'s namespace"))?;
            servers.push((place, address(&cluster, pod)?, Server::start(&netns(pod)?, &served())?));
        }
        let folder = tempfile::Builder::new().prefix("weft-bench-").tempdir()?;
        let mut ground = Self { pairs: Vec::new(), servers, client, cluster, folder };
        ground.start_pairs()?;
        Ok(ground)
    }

    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// A command that runs in the client's pod.
    pub(super) fn client_command(&self, program: &str) -> Result<Command> {
        Ok(self.cluster.command(&key(CLIENT), program)?)
    }

    /// A folder that is removed at the end.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The addresses that the client dials for `route`.
    pub fn target(&self, route: Route) -> Result<Target> {
        let server = self.servers.iter().find(|(place, ..)| *place == route.place());
        let (_, ip, server) = server.context("no server there")?;
        let ip = if let Route::Pair(_) = route { Ipv4Addr::LOCALHOST } else { *ip };
        Ok(Target { ip, route, received: server.received() })
    }

    /// The proxy processes of `route`, of both nodes.
    pub fn proxies(&self, route: Route) -> Result<Vec<u32>> {
        Ok(match route {
            Route::Direct(_) => Vec::new(),
            Route::Weft(_) | Route::Spliced(_) | Route::DirectPass => {
                NODES.iter().map(|node| self.cluster.pid(&proxy(node))).collect::<Result<_, _>>()?
            }
            Route::Pair(peer) => self.pair(peer)?.pids()?,
        })
    }

    /// What the proxies of `route` logged last.
    pub fn logs(&self, route: Route) -> String {
        match route {
            Route::Direct(_) => "no proxy is involved".to_owned(),
            Route::Weft(_) | Route::Spliced(_) | Route::DirectPass => {
                NODES.map(|node| self.cluster.log_tail(&proxy(node))).join("\n")
            }
            Route::Pair(peer) => self.pair(peer).map_or_else(|e| e.to_string(), Pair::log),
        }
    }

    /// Restarts weft's proxies, so that memory is that of fresh ones.
    pub fn restart_proxies(&self, route: Route) -> Result<()> {
        if route.is_weft() {
            NODES.iter().try_for_each(|node| self.cluster.restart(&proxy(node)))?;
            until_served(&self.cluster, &[2, 1])?;
        }
        Ok(())
    }

    /// Makes the next connections of a direct-pass route go directly. The first one goes through the proxy, which then
    /// grants the direct path, and forgets it again if nobody uses it for ten minutes.
    pub fn establish_direct_path(&self, route: Route) -> Result<()> {
        if route != Route::DirectPass {
            return Ok(());
        }
        let target = self.target(route)?;
        for address in [target.at(Kind::Echo)?, target.at(Kind::Sink)?] {
            if !self.goes_directly(address).with_context(|| self.logs(route))? {
                let second = self.goes_directly(address).with_context(|| self.logs(route))?;
                ensure!(second, "connections to {address} do not go directly\n{}", self.logs(route));
            }
        }
        Ok(())
    }

    /// Whether a connection went directly; if not, the next one does.
    fn goes_directly(&self, address: SocketAddr) -> Result<bool> {
        let [before, _] = self.metrics()?;
        let since = || Ok::<_, anyhow::Error>(self.metrics()?[0].since(&before));
        let stream = self.client.run(|| TcpStream::connect(address))??;
        let directly = since()?.value("weft_capture_total", &DIRECT) > 0.0;
        drop(stream);
        // The proxy must have counted it before the next one begins.
        wait::until_ok("the proxy knows of the connection", || {
            let known = match directly {
                true => since()?.value("weft_direct_connections_total", &[]) >= 2.0,
                false => {
                    since()?.value("weft_direct_pass_changes_total", &[("change", change::GRANTED)]) >= 1.0
                }
            };
            ensure!(
                known,
                "{}",
                if directly {
                    "the direct connection was not reported"
                } else {
                    "no direct pass was granted"
                }
            );
            Ok(())
        })?;
        Ok(directly)
    }

    /// The metrics of both proxies, in the order of the nodes.
    pub fn metrics(&self) -> Result<[metrics::Metrics; 2]> {
        let of = |node| metrics::Metrics::of(self.cluster.admin(&proxy(node))?);
        Ok([of(NODES[0])?, of(NODES[1])?])
    }

    /// Stops everything; fails if something is left behind.
    pub fn stop(self) -> Result<()> {
        let Self { pairs, servers, cluster, .. } = self;
        drop((pairs, servers));
        Ok(cluster.stop()?)
    }

    fn pair(&self, peer: Peer) -> Result<&Pair> {
        let found = self.pairs.iter().find(|(of, _)| *of == peer);
        found.map(|(_, pair)| pair).with_context(|| format!("no pair of {}", peer.program()))
    }

    fn start_pairs(&mut self) -> Result<()> {
        let far = address(&self.cluster, Place::Far.pod())?;
        for variant in VARIANTS {
            let Route::Pair(peer) = variant.route else { continue };
            let forward = |kind: &Kind| Forward {
                kind: *kind,
                entry: variant.route.port(*kind),
                application: ports::application(*kind),
            };
            let forwards: Vec<_> = variant.route.kinds().iter().map(forward).collect();
            let inside = |side: &str| -> Result<Command> {
                let pod = if side == CLIENT { CLIENT } else { Place::Far.pod() };
                Ok(self.cluster.command(&key(pod), peer.program())?)
            };
            let folder = self.folder.path().join(variant.name);
            self.pairs.push((peer, Pair::start(peer, &folder, far, &forwards, inside)?));
        }
        Ok(())
    }
}

impl Place {
    /// The server's pod.
    pub fn pod(self) -> &'static str {
        match self {
            Place::Far => "far",
            Place::Near => "near",
        }
    }
}

/// Starts a cluster of two nodes. On a bridge, direct pass has to be switched on.
pub(super) fn start(
    name: &str,
    binaries: &Path,
    links: Links,
    files: Vec<(String, String)>,
) -> Result<Cluster> {
    let mut config = ClusterConfig::new(format!("{name}-{}", std::process::id()), Manifests::Embedded(files));
    config.nodes = NODES.map(str::to_owned).to_vec();
    config.binaries = PathBuf::from(binaries);
    config.links = links;
    config.proxy_args = vec!["--direct-pass=on".to_owned()];
    Cluster::start(config).context("start the cluster")
}

/// Waits until the proxies serve as many workloads as `expected` for each node.
pub(super) fn until_served(cluster: &Cluster, expected: &[usize; 2]) -> Result<()> {
    wait::until_ok_for(SERVED_TIMEOUT, "the proxies serve the pods", || {
        for (node, expected) in NODES.iter().zip(expected) {
            let config: serde_json::Value =
                serde_json::from_str(&metrics::get(cluster.admin(&proxy(node))?, "/config")?)?;
            let workloads = config["workloads"].as_object().context("/config has no workloads")?;
            let served = workloads.values().filter(|workload| workload["state"] == "SERVED").count();
            ensure!(served == *expected, "the proxy of node {node} serves {served}, not {expected}");
        }
        Ok(())
    })
}

pub(super) fn proxy(node: &str) -> Daemon {
    Daemon::Proxy(node.to_owned())
}

pub(super) fn key(pod: &str) -> String {
    format!("{NAMESPACE}/{pod}")
}

pub(super) fn address(cluster: &Cluster, pod: &str) -> Result<Ipv4Addr> {
    let ips = cluster.pod_ips(&key(pod))?;
    ips.iter()
        .find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None })
        .context("no IPv4 address")
}

/// Sets the calling thread's namespace up, for all variants alike. Closed connections do not keep their ports for a
/// minute, so that the ports suffice. Congestion control is reno: BBR, the default of some machines, paces by
/// estimates, and bulk would measure those instead of the cost of moving bytes.
pub(super) fn prepare() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000")?;
    fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "reno")
}

fn manifests() -> String {
    let pods = [(CLIENT, "a"), (Place::Near.pod(), "a"), (Place::Far.pod(), "b")];
    pods.iter().map(|(name, node)| pod(name, node, &annotations())).collect()
}

fn annotations() -> String {
    let all = [
        ("config.linkerd.io/skip-outbound-ports", EXEMPT),
        ("config.linkerd.io/skip-inbound-ports", EXEMPT),
        ("config.weft.dev/splice-ports", SPLICED),
        ("config.linkerd.io/opaque-ports", OPAQUE),
    ];
    all.map(|(annotation, ports)| format!("\n    {annotation}: \"{ports}\"")).concat()
}

/// A meshed pod with its own service account; nothing runs in it.
pub(super) fn pod(name: &str, node: &str, annotations: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: {NAMESPACE}
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {NAMESPACE}
  annotations:
    linkerd.io/inject: enabled{annotations}
spec:
  nodeName: {node}
  serviceAccountName: {name}
  containers:
    - name: main
      image: bench
"
    )
}
