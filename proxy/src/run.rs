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
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch as channel,
    time::{interval, sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use crate::{
    admin,
    app::{Connections, Limits, Shared},
    capture::{self, Capture, Listener, Listeners, OutcomeCollector, Side},
    config::Config,
    discovery::{self, Discovery},
    handover::{self, Relief},
    identity::{self, Store},
    logging::LevelHandle,
    metrics::Metrics,
    tls,
    workloads::{Keeper, NetnsFinder, Registry, States, Watch, WatchConfig},
};

/// Under which key the admin socket is handed over: no namespace has this cookie.
const ADMIN: u64 = 0;
/// Between the last heartbeat and the closing of the listeners: connections on their way still arrive.
const LAST_CALL: Duration = Duration::from_millis(100);
/// How long workloads of a predecessor may take to be served before it is told to go.
const TAKEOVER: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or until a successor takes over, then drains.
pub async fn run(config: Config, level: LevelHandle) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    raise_descriptor_limit();
    prepare(&config.state_dir)?;
    let relief = Relief::ask(&config.state_dir).context("asking the running proxy for its listeners")?;
    let control = channel_to(&config.control)?;

    let capture = Capture::start(&capture_config(&config, relief.is_some()))?;
    let metrics = Metrics::new(&tls::info());
    metrics.register_collector(Box::new(OutcomeCollector(Arc::downgrade(&capture))));
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
    let (drain, draining) = channel::channel(false);
    let shared = Arc::new(Shared {
        capture: capture.clone(),
        registry: registry.clone(),
        discovery: Discovery::new(control.clone(), discovery::Config::new(&config.node), &metrics),
        metrics: metrics.clone(),
        cluster_networks: config.cluster_networks.clone(),
        limits: Limits {
            connections_per_workload: config.max_connections_per_workload,
            detect: config.detect_timeout,
            certificate: config.certificate_timeout,
            idle: config.idle_timeout,
        },
        connections: Arc::<Connections>::default(),
        draining,
    });

    let (mut listeners, predecessor) = match relief {
        Some(mut relief) => (std::mem::take(&mut relief.listeners), Some(relief)),
        None => Default::default(),
    };
    let finder = NetnsFinder { folder: config.netns_dir.clone() };
    let socket = admin_socket(&config, &mut listeners)?;
    let keeper = Keeper::new(shared.clone(), registry, states.clone(), store.clone(), finder, listeners);
    let watch = WatchConfig { node: config.node.clone(), token_file: config.token_file.clone() };
    tokio::spawn(states.clone().report(watch.clone(), control.clone()));
    let watching = tokio::spawn(Watch::new(watch, control, keeper.clone()).run());

    let ready = {
        let keeper = keeper.clone();
        move || keeper.ready()
    };
    let spare = OwnedFd::from(socket.try_clone()?);
    let page = admin::Admin {
        metrics,
        readiness: Arc::new(ready),
        config: Arc::new({
            let (config, states) = (config.clone(), states.clone());
            move || describe(&config, &states)
        }),
        log_level: level,
    };
    let admin = admin::serve_on(socket, page).context("admin server")?;
    let address = admin.addr();
    write_address(&config.state_dir, &address.to_string())?;
    info!(node = config.node, admin = %address, "weft-proxy runs");

    let relieved = Arc::new(tokio::sync::Notify::new());
    let is_relieved = Arc::new(AtomicBool::new(false));
    let offer = {
        let (state_dir, keeper) = (config.state_dir.clone(), keeper.clone());
        let (relieved, is_relieved) = (relieved.clone(), is_relieved.clone());
        async move {
            if let Some(predecessor) = predecessor {
                keeper.taken_over(TAKEOVER).await;
                if let Err(error) = predecessor.ready() {
                    warn!(%error, "the predecessor was not told that it is relieved");
                }
            }
            let told = move || {
                is_relieved.store(true, Ordering::Release);
                relieved.notify_one();
            };
            let spare = Arc::new(Listeners(vec![Listener { side: Side::Inbound, v6: false, socket: spare }]));
            let listeners = move || {
                let mut listeners = keeper.listeners();
                listeners.insert(ADMIN, spare.clone());
                listeners
            };
            if let Err(error) = handover::offer(&state_dir, listeners, told) {
                warn!(%error, "no successor will be able to take over");
            }
        }
    };
    tokio::spawn(offer);

    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: draining"),
        _ = interrupt.recv() => info!("SIGINT: draining"),
        () = relieved.notified() => info!("relieved: draining"),
    }
    beating.abort();
    if !is_relieved.load(Ordering::Acquire) {
        // New connections follow their fail mode before the listeners go.
        capture.stop_beating()?;
        sleep(LAST_CALL).await;
    }
    // A successor has the admin socket, too; somebody else may want the port.
    drop(admin);
    drain.send_replace(true);
    watching.abort();
    drained(&shared.connections, config.drain_timeout, &mut terminate, &mut interrupt).await;
    Ok(())
}

async fn drained(connections: &Connections, limit: Duration, terminate: &mut Signal, interrupt: &mut Signal) {
    // Accept loops serve what was waiting.
    sleep(LAST_CALL).await;
    info!(open = connections.count(), ?limit, "waiting for connections to end");
    tokio::select! {
        result = timeout(limit, connections.none()) => match result {
            Ok(()) => info!("all connections have ended"),
            Err(_) => warn!(open = connections.count(), "drain timeout: ending the connections that are left"),
        },
        _ = terminate.recv() => warn!(open = connections.count(), "a second signal: ending the connections that are left"),
        _ = interrupt.recv() => warn!(open = connections.count(), "a second signal: ending the connections that are left"),
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

/// Each proxied connection takes two descriptors.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files was not raised");
    }
}

fn describe(config: &Config, states: &States) -> serde_json::Value {
    let workloads: serde_json::Map<_, _> = states
        .all()
        .into_iter()
        .map(|(key, state)| {
            let state = serde_json::json!({ "state": state.state.as_str_name(), "reason": state.reason });
            (key.to_string(), state)
        })
        .collect();
    serde_json::json!({ "config": config, "workloads": workloads })
}
