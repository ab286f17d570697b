//! Builds the components of the proxy, in the order in which they depend on each other.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use anyhow::Context;
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{base::Base, control_plane::ControlPlane, heartbeat, host, ready_file, tasks::Tasks};
use crate::{
    admin,
    bypass::DirectConnections,
    capture::{self, Capture},
    config::Config,
    connection::DataPath,
    handover::{HandoverState, Predecessor},
    lifecycle::{
        Admissions, Components, EarlierCollector, EarlierMetrics, NetnsFinder, Sandboxes, StatusReporter,
        WorkloadCollector, WorkloadSupervisor,
    },
    limits::{LimitsCollector, NodeLimiter, NodeRequests},
    logging::LevelHandle,
    nri,
    workload::Registry,
};

/// The proxy of one node.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) control: ControlPlane,
    pub(super) capture: Arc<Capture>,
    pub(super) bypass: Arc<DirectConnections>,
    pub(super) data_path: Arc<DataPath>,
    pub(super) registry: Arc<Registry>,
    pub(super) supervisor: Arc<WorkloadSupervisor>,
    /// `None` without a predecessor, and when it has been taken over.
    pub(super) predecessor: Option<Predecessor>,
    pub(super) admin: AbortHandle,
    pub(super) admin_address: SocketAddr,
    /// Where the tap service is answered, if there is one.
    pub(super) tap_address: Option<SocketAddr>,
    /// A copy of the admin socket, for a successor.
    pub(super) admin_socket: Option<OwnedFd>,
    pub(super) handover: watch::Receiver<HandoverState>,
    pub(super) handover_state: Option<watch::Sender<HandoverState>>,
    /// Cancelled when the control plane is to learn that nobody serves this node any more.
    pub(super) leaving: CancellationToken,
    pub(super) tasks: Tasks,
    pub(super) heartbeat: AbortHandle,
    /// The tasks that follow the control plane and report to it.
    pub(super) control_tasks: [AbortHandle; 2],
    /// The task that hears of pods from the container runtime, if it is asked.
    pub(super) runtime_task: Option<AbortHandle>,
}

impl Node {
    pub(super) fn build(config: Config, level: LevelHandle) -> anyhow::Result<Self> {
        let descriptors = host::raise_descriptor_limit();
        host::prepare_state_dir(&config.state_dir)?;
        if let Some(path) = &config.ready_file {
            ready_file::remove(path)?;
        }
        let mut predecessor =
            Predecessor::ask(&config.state_dir).context("asking the running proxy for its listeners")?;
        let mut listeners =
            predecessor.as_mut().map(|p| std::mem::take(&mut p.listeners)).unwrap_or_default();
        let mut tasks = Tasks::default();

        let base = Base::start(&config, predecessor.is_some(), &mut tasks)?;
        let heartbeat = tasks.spawn("heartbeat", heartbeat::send(base.capture.clone()));
        let limiter = NodeLimiter::new(descriptors, config.max_connections);
        base.metrics.register_collector(Box::new(LimitsCollector(limiter.clone())));
        let data_path = base.data_path(&config, &mut tasks)?;

        let admin_socket = host::admin_socket(&config, &mut listeners)?;
        let reporter = Arc::<StatusReporter>::default();
        let (sandboxes, runtime) = (Arc::<Sandboxes>::default(), Arc::<nri::Connection>::default());
        let admissions = Arc::<Admissions>::default();
        let earlier = Arc::<EarlierMetrics>::default();
        base.metrics.register_collector(Box::new(EarlierCollector(earlier.clone())));
        let served = WorkloadCollector { registry: base.registry.clone(), reporter: reporter.clone() };
        base.metrics.register_collector(Box::new(served));
        let components = Components {
            capture: base.capture.clone(),
            bypass: data_path.bypass.clone(),
            data_path: data_path.clone(),
            limiter,
            requests: NodeRequests::new(config.max_requests),
            max_connections_per_workload: config.max_connections_per_workload,
            registry: base.registry.clone(),
            reporter: reporter.clone(),
            store: base.store.clone(),
            finder: netns_finder(&config, base.capture.host(), &sandboxes, &runtime),
            sandboxes,
            admissions: admissions.clone(),
            earlier,
        };
        let supervisor = WorkloadSupervisor::new(components, listeners);
        let runtime_task = base.follow_runtime(&config, &supervisor, admissions, runtime, &mut tasks);
        let leaving = CancellationToken::new();
        let control_tasks = base.follow_control(&config, &supervisor, &reporter, leaving.clone(), &mut tasks);

        let tap_address = base.answer_taps(&config, &data_path, &mut tasks)?;
        let copy_of_admin_socket = OwnedFd::from(admin_socket.try_clone()?);
        let pages = base.pages(&config, &supervisor, reporter, data_path.http.worst(), level);
        let admin = admin::Server::new(admin_socket, pages).context("admin server")?;
        let admin_address = admin.addr().context("admin server")?;
        let admin = tasks.spawn("admin server", admin.run());
        info!(node = config.node, admin = %admin_address, "weft-proxy runs");
        let (handover_state, handover) = watch::channel(HandoverState::Idle);
        let Base { control, capture, registry, .. } = base;
        Ok(Self {
            config,
            control,
            capture,
            bypass: data_path.bypass.clone(),
            data_path,
            registry,
            supervisor,
            predecessor,
            admin,
            admin_address,
            tap_address,
            admin_socket: Some(copy_of_admin_socket),
            handover,
            handover_state: Some(handover_state),
            leaving,
            tasks,
            heartbeat,
            control_tasks,
            runtime_task,
        })
    }
}

fn netns_finder(
    config: &Config,
    host: &capture::Netns,
    sandboxes: &Arc<Sandboxes>,
    runtime: &Arc<nri::Connection>,
) -> NetnsFinder {
    let finder = NetnsFinder::new(host.clone())
        .with_folder(config.netns_dir.clone())
        .with_processes(config.proc.clone());
    match config.nri_socket {
        Some(_) => finder.with_runtime(sandboxes.clone(), runtime.clone()),
        None => finder,
    }
}
