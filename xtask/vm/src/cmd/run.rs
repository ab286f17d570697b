//! What does one see and do while a cluster runs?

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::signal::Signal;
use weft_vm::{Cluster, ClusterConfig, Daemon, Manifests, Report, Watcher, traffic};

use super::guard::{self, Guard};
use super::screen::Screen;

/// The name of the cluster that `run` runs.
pub(crate) const CLUSTER: &str = "run";
/// How long `--once` waits for traffic.
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);
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
    let signals = guard::signals()?;
    let manifests = match args.manifests {
        Some(folder) => Manifests::Folder(std::path::absolute(folder)?),
        None => Manifests::Embedded(DEMO.map(|(name, text)| (name.to_owned(), text.to_owned())).into()),
    };
    let mut config = ClusterConfig::new(CLUSTER, manifests);
    config.nodes = (b'a'..b'a' + args.nodes).map(|letter| char::from(letter).to_string()).collect();

    // Dropped after the cluster.
    let _guard = Guard::start(CLUSTER)?;
    println!("starting {} nodes …", config.nodes.len());
    let cluster = start(config, &signals)?;
    let Some(cluster) = cluster else { return Ok(ExitCode::from(130)) };
    let (tell, told) = channel();
    let watcher = Watcher::start(cluster.clone(), reporter(tell))?;
    let live = Live {
        cluster: &cluster,
        signals,
        told,
        screen: Screen::new(header(&cluster)),
        died: BTreeMap::new(),
    };
    let result = if args.once { live.once() } else { live.until_signal() };
    drop(watcher);
    cluster.stop()?;
    result
}

/// Starts on a thread of its own so that a signal is heard meanwhile; None: one came.
fn start(config: ClusterConfig, signals: &Receiver<Signal>) -> anyhow::Result<Option<Arc<Cluster>>> {
    let (done, started) = channel();
    let thread = std::thread::spawn(move || done.send(Cluster::start(config)));
    loop {
        match started.recv_timeout(Duration::from_millis(50)) {
            Ok(cluster) => {
                let interrupted = signals.try_recv().is_ok();
                let cluster = cluster?;
                return Ok((!interrupted).then(|| Arc::new(cluster)));
            }
            Err(RecvTimeoutError::Disconnected) => {
                // It ended without a result: it panicked.
                let _ = thread.join();
                bail!("the start panicked");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
