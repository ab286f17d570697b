//! `weft-vm run`: runs a cluster and shows live tables of its workloads and connections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::Signal;
use weft_vm::{
    Cluster, ClusterConfig, Daemon, Error, Forward, Manifests, Report, Screen, Service, Watcher, traffic,
};

use super::defaults::Defaults;
use super::guard::{self, Guard};
use super::viz::Viz;

pub(crate) const CLUSTER: &str = "run";
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often `--once` reads the metrics.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// A daemon that ended is restarted at most this often.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

const DEMO: [(&str, &str); 6] = [
    ("00-namespace.yaml", include_str!("../../../../demo/manifests/00-namespace.yaml")),
    ("emojivoto.yaml", include_str!("../../../../demo/manifests/emojivoto.yaml")),
    ("client.yaml", include_str!("../../../../demo/manifests/client.yaml")),
    ("web.yaml", include_str!("../../../../demo/manifests/web.yaml")),
    ("unmeshed.yaml", include_str!("../../../../demo/manifests/unmeshed.yaml")),
    ("vault.yaml", include_str!("../../../../demo/manifests/vault.yaml")),
];
/// The demo's page.
const DEMO_PAGE: &str = "emojivoto/web-svc:80";
/// The demo's workload that fails on purpose.
const DEMO_FAULT: (&str, &str) = ("emojivoto", "voting");

/// Arguments of `weft-vm run`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  # The demo on three nodes
  weft-vm run --nodes 3

  # Manifests of your own, with a service that this machine reaches
  weft-vm run --manifests ./manifests --forward shop/web:80

  # Whether everything works: prints the tables once, and ends
  weft-vm run --once")]
pub(crate) struct Args {
    /// Wait until the metrics prove traffic between nodes (mTLS) and within a node, print the tables and end. Of the
    /// demo, also HTTP and gRPC, and the failing votes
    #[arg(long)]
    once: bool,
    /// A folder of Kubernetes YAML to run instead of the demo; changes take effect at once
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// A service that is made reachable from this machine, as NAMESPACE/SERVICE:PORT; without --manifests, the demo's
    /// page
    #[arg(long, value_name = "SERVICE")]
    forward: Option<Service>,
    /// How many nodes, named a, b, c, …
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=26))]
    nodes: u8,
    /// Without the dashboard and Prometheus
    #[arg(long)]
    no_viz: bool,
    #[command(flatten)]
    defaults: Defaults,
}

/// Runs until Ctrl-C, or until the proof with `--once`.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces and eBPF need root: use `cargo xtask run`, or sudo");
    }
    let is_demo = args.manifests.is_none();
    let forwarded = match args.forward {
        None if is_demo => Some(DEMO_PAGE.parse().map_err(anyhow::Error::msg)?),
        forward => forward,
    };
    let manifests = match args.manifests {
        Some(folder) => Manifests::Folder(std::path::absolute(folder)?),
        None => Manifests::Embedded(DEMO.map(|(name, text)| (name.to_owned(), text.to_owned())).into()),
    };
    let mut config = ClusterConfig::new(CLUSTER, manifests);
    config.control_args = args.defaults.arguments();
    config.nodes = (b'a'..b'a' + args.nodes).map(|letter| char::from(letter).to_string()).collect();
    config.taps = !args.no_viz;
    let signals = guard::signals(config.cancel.clone())?;

    // Declared first, so that it is dropped after the cluster.
    let _guard = Guard::start(CLUSTER)?;
    let cluster = match Cluster::start(config) {
        Ok(cluster) => Arc::new(cluster),
        Err(Error::Cancelled) => return Ok(interrupted()),
        Err(error) => return Err(error.into()),
    };
    let (sender, events) = channel();
    let complaints = sender.clone();
    let watcher = Watcher::start(cluster.clone(), reporter(sender))?;
    let forward = forwarded.map(|service| {
        Forward::start(cluster.clone(), service, move |error| {
            // An error means that the cluster is about to stop.
            let _ = complaints.send(format!("browser: {error}"));
        })
    });
    let forward = forward.transpose()?;
    let mut viz = (!args.no_viz).then(|| Viz::start(&cluster));
    let screen = Screen::new(&header(&cluster, forward.as_ref(), viz.as_ref()));
    let mut live = Live {
        cluster: &cluster,
        forward: forward.as_ref(),
        viz: viz.as_mut(),
        signals,
        events,
        screen,
        window: traffic::Window::default(),
        restarted: BTreeMap::new(),
    };
    let code = if args.once { live.once(is_demo) } else { live.until_signal() };
    drop(viz);
    drop(forward);
    drop(watcher);
    cluster.stop()?;
    Ok(code)
}

struct Live<'a> {
    cluster: &'a Cluster,
    forward: Option<&'a Forward>,
    viz: Option<&'a mut Viz>,
    signals: Receiver<Signal>,
    events: Receiver<String>,
    screen: Screen,
    window: traffic::Window,
    restarted: BTreeMap<Daemon, Instant>,
}

impl Live<'_> {
    fn until_signal(&mut self) -> ExitCode {
        while self.signals.recv_timeout(REDRAW_INTERVAL).is_err() {
            self.handle_events();
            let pages = self.scrape();
            let (cluster, forward, window) = (self.cluster, self.forward, &self.window);
            let viz = self.viz.as_deref();
            self.screen.draw(|| header(cluster, forward, viz), || tables(cluster, window, &pages));
        }
        self.screen.event("stopping …");
        ExitCode::SUCCESS
    }

    fn once(&mut self, is_demo: bool) -> ExitCode {
        let deadline = Instant::now() + ONCE_TIMEOUT;
        loop {
            if self.signals.recv_timeout(POLL_INTERVAL).is_ok() {
                return interrupted();
            }
            self.handle_events();
            let pages = self.scrape();
            let proof = prove(&pages, &self.cluster.pod_infos(), is_demo);
            let proven = proof.missing.is_empty();
            if !proven && Instant::now() < deadline {
                continue;
            }
            println!("{}", tables(self.cluster, &self.window, &pages));
            proof.found.iter().for_each(|line| println!("proven: {line}"));
            if proven {
                return ExitCode::SUCCESS;
            }
            proof
                .missing
                .iter()
                .for_each(|line| println!("not proven after {} s: {line}", ONCE_TIMEOUT.as_secs()));
            for daemon in daemons(self.cluster) {
                println!("end of the log of {daemon}:\n{}", self.cluster.log_tail(&daemon));
            }
            return ExitCode::FAILURE;
        }
    }

    /// Reads the proxies' metrics, and adds them to the window.
    fn scrape(&mut self) -> Vec<traffic::NodePage> {
        let pages = self.cluster.pages();
        self.window.add(Instant::now(), &pages);
        pages
    }

    /// Shows the watcher's reports, and restarts daemons that ended.
    fn handle_events(&mut self) {
        while let Ok(line) = self.events.try_recv() {
            self.screen.event(&line);
        }
        for line in self.viz.as_mut().map(|viz| viz.follow(self.cluster)).unwrap_or_default() {
            self.screen.event(&line);
        }
        for (daemon, status) in self.cluster.ended() {
            if self.restarted.get(&daemon).is_some_and(|last| last.elapsed() < RESTART_INTERVAL) {
                continue;
            }
            self.restarted.insert(daemon.clone(), Instant::now());
            let log = self.cluster.log(&daemon);
            self.screen
                .event(&format!("{daemon} ended ({status}); restarting it; its log: {}", log.display()));
            if let Err(error) = self.cluster.launch(&daemon) {
                self.screen.event(&format!("{daemon} cannot be started: {error}"));
            }
        }
    }
}

fn prove(pages: &[traffic::NodePage], pods: &traffic::Pods, is_demo: bool) -> traffic::Proof {
    let proof = traffic::prove(pages, pods);
    if !is_demo {
        return proof;
    }
    let (namespace, deployment) = DEMO_FAULT;
    proof.and(traffic::prove_http(pages, pods)).and(traffic::prove_failures(pages, namespace, deployment))
}

/// The workloads, what fails most, and the connections.
fn tables(cluster: &Cluster, window: &traffic::Window, pages: &[traffic::NodePage]) -> String {
    let pods = cluster.pod_infos();
    let stats = traffic::render_stats(&window.stats(&pods, &cluster.served()));
    let worst = traffic::render_worst(&traffic::worst(&cluster.worst_calls(), window, &pods));
    let edges = traffic::render(&traffic::rows(pages, &pods));
    let tables = [stats, worst, edges];
    tables.iter().filter(|table| !table.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Turns reports into lines. A problem is reported once.
fn reporter(sender: Sender<String>) -> impl FnMut(weft_vm::Result<Report>) + Send {
    let mut problems = Vec::new();
    move |result| {
        let report =
            result.unwrap_or_else(|error| Report { problems: vec![error.to_string()], ..Report::default() });
        let mut lines: Vec<String> = report.remarks.iter().map(|remark| format!("note: {remark}")).collect();
        lines.extend(report.added.iter().map(|pod| format!("+ pod {pod}")));
        lines.extend(report.removed.iter().map(|pod| format!("- pod {pod}")));
        lines.extend(
            report.problems.iter().filter(|p| !problems.contains(*p)).map(|p| format!("problem: {p}")),
        );
        if report.problems.is_empty() && !problems.is_empty() {
            lines.push("the problems are solved".to_owned());
        }
        problems = report.problems;
        for line in lines {
            // An error means that the cluster is about to stop.
            let _ = sender.send(line);
        }
    }
}

/// The daemons, their pods, and where to look for more.
fn header(cluster: &Cluster, forward: Option<&Forward>, viz: Option<&Viz>) -> String {
    let infos = cluster.pod_infos();
    let mut text = format!("weft dev VM, manifests in {}\n", cluster.manifests().display());
    if let Some(forward) = forward {
        text += &format!("  browser  http://{}   ({})\n", forward.address(), forward.service());
    }
    text += &viz.map(Viz::header).unwrap_or_default();
    for daemon in daemons(cluster) {
        let admin = cluster
            .admin(&daemon)
            .map_or_else(|error| error.to_string(), |at| format!("http://{at}/metrics"));
        let pods = match &daemon {
            Daemon::Control => String::new(),
            Daemon::Proxy(node) => {
                let pods = infos.iter().filter(|(_, info)| info.node == *node);
                let names: Vec<_> = pods
                    .map(|(name, info)| {
                        format!("{name} {}", info.ips.first().map(ToString::to_string).unwrap_or_default())
                    })
                    .collect();
                format!("  pods: {}", names.join(", "))
            }
        };
        text += &format!("  {:<8} {admin}{pods}\n", daemon.to_string());
    }
    let pod = infos.keys().next().map_or("NAMESPACE/POD", String::as_str);
    text += &format!("  logs     {}\n", cluster.layout().logs_dir().display());
    text +=
        &format!("  inside   cargo xtask exec {pod} -- COMMAND…   (any program, in that pod's network)\n");
    text + "  Ctrl-C stops it and leaves nothing behind.\n"
}

fn daemons(cluster: &Cluster) -> Vec<Daemon> {
    let proxies = cluster.nodes().iter().cloned().map(Daemon::Proxy);
    std::iter::once(Daemon::Control).chain(proxies).collect()
}

/// The exit code that a shell reports for Ctrl-C.
fn interrupted() -> ExitCode {
    ExitCode::from(130)
}
