//! Who starts what, in which order, and how does it end?

use std::{
    collections::HashMap,
    fs,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use tokio::{
    sync::watch as channel,
    time::{interval, sleep},
};
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use crate::{
    admin,
    app::{Connections, Limits, Shared},
    capture::{self, Capture, Listener, Listeners, OutcomeCollector, Side},
    config::Config,
    discovery::{self, Discovery},
    drain::{self, Signals},
    handover::{self, Progress, Relief},
    identity::{self, Store},
    logging::LevelHandle,
    metrics::Metrics,
    pass::Passes,
    share::{Budget, BudgetCollector},
    splice::{SpliceCollector, Splicing},
    threads::WorkerThreads,
    tls,
    workloads::{Draining, Keeper, NetnsFinder, Registry, States, Watch, WatchConfig},
};

/// Under which key the admin socket is handed over: no namespace has this cookie.
const ADMIN: u64 = 0;
/// Between the last heartbeat and the closing of the listeners: connections on their way still arrive.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How long workloads of a predecessor may take to be served before it is told to go.
const TAKEOVER: Duration = Duration::from_secs(20);

/// Serves until SIGTERM or until a successor takes over, then drains.
pub async fn run(config: Config, level: LevelHandle) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let drain_timeout = config.drain_timeout;
    let descriptors = raise_descriptor_limit();
    prepare(&config.state_dir)?;
    let relief = Relief::ask(&config.state_dir).context("asking the running proxy for its listeners")?;
    let control = channel_to(&config.control)?;

    let capture = Capture::start(&capture_config(&config, relief.is_some()))?;
    let metrics = Metrics::new(&tls::info());
    metrics.register_collector(Box::new(OutcomeCollector(Arc::downgrade(&capture))));
    let splicing = Splicing::new(capture.clone());
    metrics.register_collector(Box::new(SpliceCollector(splicing.clone())));
    tokio::spawn(splicing.clone().sweep());
    metrics.refresh_with({
        let splicing = splicing.clone();
        Box::new(move || splicing.account())
    });
    let budget = Budget::new(descriptors, config.max_connections);
    metrics.register_collector(Box::new(BudgetCollector(budget.clone())));
    tokio::spawn(capture::alarms(Arc::downgrade(&capture)));
    let beating = tokio::spawn(beat(capture.clone()));

    let store = Store::new(
        identity::Config {
            node: config.node.clone(),
            control: control.clone(),
            token_file: config.token_file.clone(),
            anchors_file: config.trust_anchors.clone(),
        },
        metrics.identity(),
    );
    let registry = Arc::<Registry>::default();
    let states = Arc::<States>::default();
    let (drains, draining) = channel::channel(false);
    let (leaves, leaving) = channel::channel(false);
    let discovery = Discovery::new(control.clone(), discovery::Config::new(&config.node), &metrics);
    let passes = Passes::new(
        config.direct_pass,
        capture.clone(),
        registry.clone(),
        discovery.clone(),
        metrics.clone(),
        config.cluster_networks.clone(),
    );
    if let Some(events) = capture.direct_events().context("the ring of direct connections' events")? {
        tokio::spawn(passes.clone().follow(events));
    }
    let shared = Arc::new(Shared {
        capture: capture.clone(),
        splicing: splicing.clone(),
        workers: WorkerThreads::start(workers(&config)).context("threads for connections")?,
        registry: registry.clone(),
        discovery,
        passes,
        metrics: metrics.clone(),
        cluster_networks: config.cluster_networks.clone(),
        limits: Limits {
            connections_per_workload: config.max_connections_per_workload,
            detect: config.detect_timeout,
            certificate: config.certificate_timeout,
            idle: config.idle_timeout,
        },
        budget,
        connections: Arc::<Connections>::default(),
        draining,
    });

    let (mut listeners, predecessor) = match relief {
        Some(mut relief) => (std::mem::take(&mut relief.listeners), Some(relief)),
        None => Default::default(),
    };
    let finder = NetnsFinder { folder: config.netns_dir.clone() };
    let socket = admin_socket(&config, &mut listeners)?;
    let keeper =
        Keeper::new(shared.clone(), registry.clone(), states.clone(), store.clone(), finder, listeners);
    let watch_config = WatchConfig { node: config.node.clone(), token_file: config.token_file.clone() };
    let reporting = tokio::spawn(states.clone().report(watch_config.clone(), control.clone()));
    let watch = Watch::new(watch_config.clone(), control.clone(), keeper.clone(), splicing.clone());
    let watching = tokio::spawn(watch.run(leaving));

    let ready = {
        let keeper = keeper.clone();
        move || keeper.ready()
    };
    let spare = OwnedFd::from(socket.try_clone()?);
    let page = admin::Admin {
        metrics,
        readiness: Arc::new(ready),
        config: Arc::new({
            let (config, states, store) = (config.clone(), states.clone(), store.clone());
            move || describe(&config, &states, &store, &splicing)
        }),
        log_level: level,
    };
    let admin = admin::serve_on(socket, page).context("admin server")?;
    let address = admin.addr();
    let tell_address = {
        let state_dir = config.state_dir.clone();
        move || write_address(&state_dir, &address.to_string())
    };
    if predecessor.is_none() {
        tell_address()?;
        shared.passes.begin(false);
    }
    info!(node = config.node, admin = %address, "weft-proxy runs");

    let (progress, mut handover) = channel::channel(Progress::Alone);
    let in_charge = Arc::new(AtomicBool::new(predecessor.is_none()));
    let takes_charge = in_charge.clone();
    let relieving = shared.clone();
    let offering = async move {
        if let Some(predecessor) = predecessor {
            if !keeper.taken_over(TAKEOVER).await {
                return Err(anyhow::anyhow!(
                    "not all workloads of the running proxy were taken over within {TAKEOVER:?} (is the control plane away?); it serves on"
                ));
            }
            tokio::task::block_in_place(|| predecessor.ready())
                .context("the running proxy has given this one up and serves on")?;
            takes_charge.store(true, Ordering::Release);
            relieving.passes.begin(true);
            relieving.capture.drop_other_versions();
            // Not before: should this one fail, it is still the predecessor that is to be asked.
            if let Err(error) = tell_address() {
                warn!(%error, "the admin address was not written; this one serves all the same");
            }
        }
        let spare = Arc::new(Listeners(vec![Listener { side: Side::Inbound, v6: false, socket: spare }]));
        let listeners = {
            let keeper = keeper.clone();
            move || {
                let mut listeners = keeper.hand_over();
                listeners.insert(ADMIN, spare.clone());
                listeners
            }
        };
        let serve_on = move || keeper.serve_on();
        if let Err(error) = handover::offer(&config.state_dir, listeners, serve_on, progress) {
            warn!(%error, "no successor will be able to take over");
        }
        std::future::pending().await
    };
    let mut result = Ok(());
    tokio::select! {
        signal = signals.next() => info!(signal, "draining"),
        () = reaches(&mut handover, Progress::Relieved) => info!("relieved: draining"),
        failed = offering => result = failed,
    }
    // One that has asked for the listeners is let go on: it may be why this one is to end.
    while *handover.borrow() == Progress::Handing && handover.changed().await.is_ok() {}
    let relieved = *handover.borrow() == Progress::Relieved;
    beating.abort();
    // Otherwise the heartbeat is the successor's, or still the predecessor's.
    if !relieved && in_charge.load(Ordering::Acquire) {
        // First of all clients' proxies are to hear of it: to pods that fail open, mTLS is no use from here on.
        leaves.send_replace(true);
        sleep(LAST_CALL).await;
        // New connections follow their fail mode before the listeners go.
        let _ = beating.await;
        if let Err(error) = capture.stop_beating() {
            warn!(%error, "the kernel was not told that the proxy ends");
        }
        sleep(LAST_CALL).await;
    }
    if relieved {
        // Of another version, it leads connections to listeners of its own, but only now.
        sleep(LAST_CALL).await;
    }
    // A successor has the admin socket, too; somebody else may want the port.
    drop(admin);
    drains.send_replace(true);
    watching.abort();
    reporting.abort();
    // Ends with the process.
    tokio::spawn(Draining::new(watch_config, control, &registry).run());
    // Accept loops serve what was waiting.
    sleep(LAST_CALL).await;
    drain::drain(&shared.connections, drain_timeout, &mut signals, relieved).await;
    result
}

/// Resolves when the handover has come so far.
async fn reaches(handover: &mut channel::Receiver<Progress>, progress: Progress) {
    let reached = handover.wait_for(|now| *now == progress).await.is_ok();
    if !reached {
        // Nobody offers any more.
        std::future::pending::<()>().await;
    }
}

async fn beat(capture: Arc<Capture>) {
    let mut beats = interval(capture.beat_every());
    loop {
        beats.tick().await;
        if let Err(error) = capture.beat() {
            warn!(%error, "the kernel was not told that the proxy is alive");
        }
    }
}

fn capture_config(config: &Config, takeover: bool) -> capture::Config {
    capture::Config {
        bpffs: config.bpffs.clone(),
        node: config.node.clone(),
        cgroup: config.cgroup.clone(),
        host_netns: config.host_netns.clone(),
        stale_after: config.stale_after,
        trace: config.ebpf_log,
        btf: config.btf.clone(),
        takeover,
    }
}

/// Connects when first used, and again whenever the connection breaks.
fn channel_to(control: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(control.to_owned())
        .with_context(|| format!("--control {control}: write http://HOST:PORT"))?
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// The predecessor's, if it listens where this one should.
fn admin_socket(
    config: &Config,
    inherited: &mut HashMap<u64, Listeners>,
) -> anyhow::Result<std::net::TcpListener> {
    let inherited = inherited.remove(&ADMIN).and_then(|mut listeners| listeners.0.pop());
    if let Some(listener) = inherited {
        let socket = std::net::TcpListener::from(listener.socket);
        if config.admin.port() != 0 && socket.local_addr()? == config.admin {
            return Ok(socket);
        }
    }
    std::net::TcpListener::bind(config.admin).with_context(|| format!("--admin {}", config.admin))
}

fn prepare(state_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .and_then(|()| fs::set_permissions(state_dir, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("--state-dir {}", state_dir.display()))
}

fn write_address(state_dir: &Path, address: &str) -> anyhow::Result<()> {
    let (file, new) = (state_dir.join("admin-address"), state_dir.join("admin-address.new"));
    fs::write(&new, address)
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("writing {}", file.display()))
}

/// Each proxied connection takes two descriptors. How many there may be.
fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files was not raised");
    }
    // Cannot fail for a resource that exists; POSIX guarantees 20 at least.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(20, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// Its default follows the processors that this process may use.
fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}

fn describe(config: &Config, states: &States, store: &Store, splicing: &Splicing) -> serde_json::Value {
    let workloads: serde_json::Map<_, _> = states
        .all()
        .into_iter()
        .map(|(key, state)| {
            let state = serde_json::json!({ "state": state.state.as_str_name(), "reason": state.reason });
            (key.to_string(), state)
        })
        .collect();
    let certificates: serde_json::Map<_, _> = store
        .expiries()
        .into_iter()
        .map(|(identity, expires)| {
            let since_epoch = expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            (identity.to_string(), serde_json::json!({ "expires": since_epoch.map(|since| since.as_secs()) }))
        })
        .collect();
    let off = splicing.off();
    let splice = serde_json::json!({ "available": off.is_none(), "reason": off });
    serde_json::json!({
        "config": config, "workloads": workloads, "certificates": certificates, "splice": splice,
    })
}
