//! What does one see and do while a cluster runs?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::Signal;
use weft_vm::{Cluster, ClusterConfig, Daemon, Error, Manifests, Report, Watcher, traffic};

use super::guard::{self, Guard};
use super::screen::Screen;

/// The name of the cluster that `run` runs.
pub(crate) const CLUSTER: &str = "run";
/// How long `--once` waits for traffic.
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often `--once` looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often the table is made.
const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// A daemon that ended is started again, at most this often.
const REVIVE_EVERY: Duration = Duration::from_secs(2);

/// The demo, as in demo/manifests.
const DEMO: [(&str, &str); 5] = [
    ("00-namespace.yaml", include_str!("../../../../demo/manifests/00-namespace.yaml")),
    ("client.yaml", include_str!("../../../../demo/manifests/client.yaml")),
    ("web.yaml", include_str!("../../../../demo/manifests/web.yaml")),
    ("unmeshed.yaml", include_str!("../../../../demo/manifests/unmeshed.yaml")),
    ("vault.yaml", include_str!("../../../../demo/manifests/vault.yaml")),
];

/// Arguments of `weft-vm run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Wait until traffic is proven to flow cross-node by mTLS and same-node, print the table and end
    #[arg(long)]
    once: bool,
    /// A folder of Kubernetes YAML to run instead of the demo; changes in it take effect at once
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// How many nodes, named a, b, c, …
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=26))]
    nodes: u8,
}

/// Runs until Ctrl-C, or until the proof with `--once`.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("root is needed for namespaces and eBPF: use `cargo xtask run`, or sudo");
    }
    let manifests = match args.manifests {
        Some(folder) => Manifests::Folder(std::path::absolute(folder)?),
        None => Manifests::Embedded(DEMO.map(|(name, text)| (name.to_owned(), text.to_owned())).into()),
    };
    let mut config = ClusterConfig::new(CLUSTER, manifests);
    config.nodes = (b'a'..b'a' + args.nodes).map(|letter| char::from(letter).to_string()).collect();
    let signals = guard::signals(config.cancel.clone())?;

    // Dropped after the cluster.
    let _guard = Guard::start(CLUSTER)?;
    let cluster = match Cluster::start(config) {
        Ok(cluster) => Arc::new(cluster),
        Err(Error::Cancelled) => return Ok(interrupted()),
        Err(error) => return Err(error.into()),
    };
    let (tell, told) = channel();
    let watcher = Watcher::start(cluster.clone(), reporter(tell))?;
    let screen = Screen::new(&header(&cluster));
    let mut live = Live { cluster: &cluster, signals, told, screen, revived: BTreeMap::new() };
    let code = if args.once { live.once() } else { live.until_signal() };
    drop(watcher);
    cluster.stop()?;
    Ok(code)
}

struct Live<'a> {
    cluster: &'a Cluster,
    signals: Receiver<Signal>,
    told: Receiver<String>,
    screen: Screen,
    revived: BTreeMap<Daemon, Instant>,
}

impl Live<'_> {
    fn until_signal(&mut self) -> ExitCode {
        while self.signals.recv_timeout(REDRAW_EVERY).is_err() {
            self.keep_up();
            let cluster = self.cluster;
            let table = || traffic::render(&traffic::rows(&cluster.pages(), &cluster.pod_infos()));
            self.screen.draw(|| header(cluster), table);
        }
        self.screen.event("stopping …");
        ExitCode::SUCCESS
    }

    fn once(&mut self) -> ExitCode {
        let deadline = Instant::now() + ONCE_TIMEOUT;
        loop {
            if self.signals.recv_timeout(LOOK_EVERY).is_ok() {
                return interrupted();
            }
            self.keep_up();
            let (pages, pods) = (self.cluster.pages(), self.cluster.pod_infos());
            let proof = traffic::prove(&pages, &pods);
            let proven = proof.missing.is_empty();
            if !proven && Instant::now() < deadline {
                continue;
            }
            println!("{}", traffic::render(&traffic::rows(&pages, &pods)));
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

    /// Shows what the watcher did, and starts again what ended.
    fn keep_up(&mut self) {
        while let Ok(line) = self.told.try_recv() {
            self.screen.event(&line);
        }
        for (daemon, status) in self.cluster.ended() {
            if self.revived.get(&daemon).is_some_and(|last| last.elapsed() < REVIVE_EVERY) {
                continue;
            }
            self.revived.insert(daemon.clone(), Instant::now());
            let log = self.cluster.log(&daemon);
            self.screen
                .event(&format!("{daemon} ended ({status}) and is started again; see {}", log.display()));
            if let Err(error) = self.cluster.launch(&daemon) {
                self.screen.event(&format!("{daemon} cannot be started: {error}"));
            }
        }
    }
}

/// Turns reports into lines, each told when it is new.
fn reporter(tell: Sender<String>) -> impl FnMut(weft_vm::Result<Report>) + Send {
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
            lines.push("the manifests are fine again".to_owned());
        }
        problems = report.problems;
        for line in lines {
            // Nobody listens any more: the cluster is about to stop.
            let _ = tell.send(line);
        }
    }
}

/// What runs and where to look.
fn header(cluster: &Cluster) -> String {
    let infos = cluster.pod_infos();
    let mut text = format!("weft dev VM, manifests in {}\n", cluster.manifests().display());
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
    text + "  Ctrl-C ends it and leaves nothing behind.\n"
}

fn daemons(cluster: &Cluster) -> Vec<Daemon> {
    let proxies = cluster.nodes().iter().cloned().map(Daemon::Proxy);
    std::iter::once(Daemon::Control).chain(proxies).collect()
}

/// As a shell reports Ctrl-C.
fn interrupted() -> ExitCode {
    ExitCode::from(130)
}
