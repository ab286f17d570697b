//! On which cluster does it happen, and where is what?

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
    haproxy::{Lane, Pair},
    load::{Kind, Server, Target},
    variant::{Place, Route, VARIANTS},
};
use crate::{metrics, netns::Netns, wait};

/// Both nodes, in the order of [`Ground::metrics`].
const NODES: [&str; 2] = ["a", "b"];
const NAMESPACE: &str = "bench";
const CLIENT: &str = "client";
/// What weft serves.
pub(super) const ECHO: u16 = 7000;
const SINK: u16 = 7001;
/// The same two, exempt from the mesh.
const EXEMPT_ECHO: u16 = 7100;
const EXEMPT_SINK: u16 = 7101;
/// The same two, opted in to splicing.
const SPLICED_ECHO: u16 = 7200;
const SPLICED_SINK: u16 = 7201;
const SPLICED: &str = "7200-7201";
/// The same two, declared opaque. The others are not, and their applications do not speak first: the proxy carries them.
const PASSED_ECHO: u16 = 7300;
const PASSED_SINK: u16 = 7301;
const PASSED: &str = "7300-7301";
/// From here on, a port for each application of each haproxy pair.
const FIRST_LANE: u16 = 7110;
const EXEMPT: &str = "7100-7199";
/// Hundreds of pods take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Connections that the kernel sends past the proxy, among what it decided.
pub(super) const DIRECTLY: [(&str, &str); 2] = [("hook", "connect"), ("outcome", "direct")];

/// A client and two servers, each in one and the same network namespace for all variants.
pub struct Ground {
    pairs: Vec<(Option<u8>, Pair, [Lane; 2])>,
    servers: Vec<(Place, Ipv4Addr, Server)>,
    client: Netns,
    cluster: Cluster,
    /// Certificates and configurations of the haproxy pairs.
    folder: TempDir,
}

impl Ground {
    /// Starts everything, with weft's programs from `binaries`.
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
            let ports = [
                (ECHO, Kind::Echo),
                (SINK, Kind::Sink),
                (EXEMPT_ECHO, Kind::Echo),
                (EXEMPT_SINK, Kind::Sink),
                (SPLICED_ECHO, Kind::Echo),
                (SPLICED_SINK, Kind::Sink),
                (PASSED_ECHO, Kind::Echo),
                (PASSED_SINK, Kind::Sink),
            ];
            servers.push((place, address(&cluster, pod)?, Server::start(&netns(pod)?, &ports)?));
        }
        let folder = tempfile::Builder::new().prefix("weft-bench-").tempdir()?;
        let mut ground = Self { pairs: Vec::new(), servers, client, cluster, folder };
        ground.start_pairs()?;
        Ok(ground)
    }

    /// The client's namespace.
    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// Where the client finds its servers by way of `route`.
    pub fn target(&self, route: Route) -> Result<Target> {
        let server = self.servers.iter().find(|(place, ..)| *place == route.place());
        let (_, ip, server) = server.context("no server there")?;
        let (ip, echo, sink) = match route {
            Route::Weft(_) => (*ip, ECHO, SINK),
            Route::Spliced => (*ip, SPLICED_ECHO, SPLICED_SINK),
            Route::Passed => (*ip, PASSED_ECHO, PASSED_SINK),
            Route::Direct(_) => (*ip, EXEMPT_ECHO, EXEMPT_SINK),
            Route::Haproxy { threads } => {
                let [echo, sink] = self.pair(threads)?.1;
                (Ipv4Addr::LOCALHOST, echo.entry, sink.entry)
            }
        };
        let at = |port| SocketAddr::from((ip, port));
        Ok(Target { echo: at(echo), sink: at(sink), swallowed: server.swallowed() })
    }

    /// The processes that `route` has on the way, all of them on both nodes.
    pub fn proxies(&self, route: Route) -> Result<Vec<u32>> {
        Ok(match route {
            Route::Direct(_) => Vec::new(),
            Route::Weft(_) | Route::Spliced | Route::Passed => {
                NODES.iter().map(|node| self.cluster.pid(&proxy(node))).collect::<Result<_, _>>()?
            }
            Route::Haproxy { threads } => self.pair(threads)?.0.pids(),
        })
    }

    /// What is known about a failure on `route`.
    pub fn complaints(&self, route: Route) -> String {
        match route {
            Route::Direct(_) => "nothing is on the way".to_owned(),
            Route::Weft(_) | Route::Spliced | Route::Passed => {
                NODES.map(|node| self.cluster.log_tail(&proxy(node))).join("\n")
            }
            Route::Haproxy { threads } => {
                self.pair(threads).map_or_else(|e| e.to_string(), |(pair, _)| pair.complaints())
            }
        }
    }

    /// Gives `route` proxies that have not worked yet, as far as that is weft's.
    pub fn refresh(&self, route: Route) -> Result<()> {
        if let Route::Weft(_) | Route::Spliced | Route::Passed = route {
            NODES.iter().try_for_each(|node| self.cluster.restart(&proxy(node)))?;
            until_served(&self.cluster, &[2, 1])?;
        }
        Ok(())
    }

    /// Sees to it that the next connections by `route` go its way. A first one, through the proxy, is what opens the
    /// direct way; and the proxy forgets a destination that it has not been asked for in ten minutes.
    pub fn pave(&self, route: Route) -> Result<()> {
        if route != Route::Passed {
            return Ok(());
        }
        let target = self.target(route)?;
        for address in [target.echo, target.sink] {
            if !self.goes_directly(address).with_context(|| self.complaints(route))? {
                let second = self.goes_directly(address).with_context(|| self.complaints(route))?;
                ensure!(second, "connections to {address} do not go directly\n{}", self.complaints(route));
            }
        }
        Ok(())
    }

    /// Whether a connection went past the proxy; if not, the next one does.
    fn goes_directly(&self, address: SocketAddr) -> Result<bool> {
        let [before, _] = self.metrics()?;
        let since = || Ok::<_, anyhow::Error>(self.metrics()?[0].since(&before));
        let stream = self.client.run(|| TcpStream::connect(address))??;
        let directly = since()?.value("weft_capture_total", &DIRECTLY) > 0.0;
        drop(stream);
        // What the proxy has to count of it is counted before the next one.
        wait::until_ok("the proxy knows of the connection", || {
            let known = match directly {
                true => since()?.value("weft_direct_connections_total", &[]) >= 2.0,
                false => since()?.value("weft_direct_pass_changes_total", &[("change", "granted")]) >= 1.0,
            };
            ensure!(known, "{}", if directly { "not told" } else { "no pass was granted" });
            Ok(())
        })?;
        Ok(directly)
    }

    /// What the proxies of both nodes count.
    pub fn metrics(&self) -> Result<[metrics::Metrics; 2]> {
        let of = |node| metrics::Metrics::of(self.cluster.admin(&proxy(node))?);
        Ok([of(NODES[0])?, of(NODES[1])?])
    }

    /// Ends it; an error if something is left.
    pub fn stop(self) -> Result<()> {
        let Self { pairs, servers, cluster, .. } = self;
        drop((pairs, servers));
        Ok(cluster.stop()?)
    }

    fn pair(&self, threads: Option<u8>) -> Result<(&Pair, [Lane; 2])> {
        let found = self.pairs.iter().find(|(of, ..)| *of == threads);
        found.map(|(_, pair, lanes)| (pair, *lanes)).context("no such pair of haproxy")
    }

    fn start_pairs(&mut self) -> Result<()> {
        let far = address(&self.cluster, Place::Far.pod())?;
        let mut entry = FIRST_LANE;
        for variant in VARIANTS {
            let Route::Haproxy { threads } = variant.route else { continue };
            let lanes = [Lane { entry, application: ECHO }, Lane { entry: entry + 1, application: SINK }];
            entry += 2;
            let inside = |side: &str| -> Result<Command> {
                let pod = if side == CLIENT { CLIENT } else { Place::Far.pod() };
                Ok(self.cluster.command(&key(pod), "haproxy")?)
            };
            let folder = self.folder.path().join(variant.name);
            let pair = Pair::start(&folder, threads, far, &lanes, inside)?;
            self.pairs.push((threads, pair, lanes));
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

/// A cluster of two nodes.
/// On a bridge connections go directly only by the operator's word.
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
    Cluster::start(config).context("the cluster")
}

/// Waits until the proxies serve so many workloads each.
pub(super) fn until_served(cluster: &Cluster, expected: &[usize; 2]) -> Result<()> {
    wait::until_ok_for(PATIENCE, "the proxies serve the pods", || {
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

/// The proxy of a node.
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

/// Prepares the calling thread's namespace, for all variants alike. Connections that are over do not keep their ports
/// for a minute, so that many fit in one after another. Congestion control is the plain one of every kernel: a machine's
/// BBR paces by estimates, and one would measure its clock instead of what it costs to move the bytes.
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
    format!(
        "\n    config.linkerd.io/skip-outbound-ports: \"{EXEMPT}\"\n    config.linkerd.io/skip-inbound-ports: \"{EXEMPT}\"\n    config.weft.dev/splice-ports: \"{SPLICED}\"\n    config.linkerd.io/opaque-ports: \"{PASSED}\""
    )
}

/// A meshed pod with a service account of its own, and nothing running in it.
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
