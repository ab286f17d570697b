//! Builds the components of the proxy, in the order in which they depend on each other.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc, thread};

use anyhow::Context;
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{
    certificates,
    control_plane::{ControlPlane, identity_config, watch_config},
    describe::Description,
    heartbeat, host, ready_file,
    tasks::Tasks,
};
use crate::{
    admin,
    authorize::Authorizer,
    bypass::DirectConnections,
    capture::{self, Capture, NodeConnections, OutcomeCollector},
    config::Config,
    connection::{DataPath, Hints, Timeouts},
    control::{ControlMetrics, TlsSettings},
    discovery::{self, Discovery},
    handover::{HandoverState, Predecessor},
    http::{Http, Worst},
    identity::{Store, watch_anchors},
    lifecycle::{
        AdmissionCollector, Admissions, Components, EarlierCollector, EarlierMetrics, NetnsFinder, Role,
        Sandboxes, StatusReporter, WorkloadCollector, WorkloadSupervisor, WorkloadWatch,
    },
    limits::{LimitsCollector, NodeLimiter, NodeRequests},
    logging::LevelHandle,
    metrics::Metrics,
    nri,
    splice::{SpliceCollector, Splicing},
    tap,
    threads::WorkerThreads,
    tls,
    upstream::{self, Connector},
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

/// What the other components stand on.
struct Foundation {
    control: ControlPlane,
    capture: Arc<Capture>,
    metrics: Metrics,
    splicing: Arc<Splicing>,
    registry: Arc<Registry>,
    store: Arc<Store>,
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

        let foundation = Foundation::lay(&config, predecessor.is_some(), &mut tasks)?;
        let heartbeat = tasks.spawn("heartbeat", heartbeat::send(foundation.capture.clone()));
        let limiter = NodeLimiter::new(descriptors, config.max_connections);
        foundation.metrics.register_collector(Box::new(LimitsCollector(limiter.clone())));
        let data_path = foundation.data_path(&config, &mut tasks)?;

        let admin_socket = host::admin_socket(&config, &mut listeners)?;
        let reporter = Arc::<StatusReporter>::default();
        let (sandboxes, runtime) = (Arc::<Sandboxes>::default(), Arc::<nri::Connection>::default());
        let admissions = Arc::<Admissions>::default();
        let earlier = Arc::<EarlierMetrics>::default();
        foundation.metrics.register_collector(Box::new(EarlierCollector(earlier.clone())));
        let served = WorkloadCollector { registry: foundation.registry.clone(), reporter: reporter.clone() };
        foundation.metrics.register_collector(Box::new(served));
        let components = Components {
            capture: foundation.capture.clone(),
            bypass: data_path.bypass.clone(),
            data_path: data_path.clone(),
            limiter,
            requests: NodeRequests::new(config.max_requests),
            max_connections_per_workload: config.max_connections_per_workload,
            registry: foundation.registry.clone(),
            reporter: reporter.clone(),
            store: foundation.store.clone(),
            finder: netns_finder(&config, foundation.capture.host(), &sandboxes, &runtime),
            sandboxes,
            admissions: admissions.clone(),
            earlier,
        };
        let supervisor = WorkloadSupervisor::new(components, listeners);
        let runtime_task = foundation.follow_runtime(&config, &supervisor, admissions, runtime, &mut tasks);
        let leaving = CancellationToken::new();
        let control_tasks =
            foundation.follow_control(&config, &supervisor, &reporter, leaving.clone(), &mut tasks);

        let tap_address = foundation.answer_taps(&config, &data_path, &mut tasks)?;
        let copy_of_admin_socket = OwnedFd::from(admin_socket.try_clone()?);
        let pages = foundation.pages(&config, &supervisor, reporter, data_path.http.worst(), level);
        let admin = admin::Server::new(admin_socket, pages).context("admin server")?;
        let admin_address = admin.addr().context("admin server")?;
        let admin = tasks.spawn("admin server", admin.run());
        info!(node = config.node, admin = %admin_address, "weft-proxy runs");
        let (handover_state, handover) = watch::channel(HandoverState::Idle);
        let Foundation { control, capture, registry, .. } = foundation;
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

impl Foundation {
    fn lay(config: &Config, takeover: bool, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let identity =
            config.expected_control_identity().context("--control-plane-namespace, --trust-domain")?;
        let (anchors, watch) = watch_anchors(&config.trust_anchors);
        let control = ControlPlane::new(TlsSettings { anchors, identity });
        let capture = Capture::start(&capture_config(config, takeover))?;
        let metrics = Metrics::new(&tls::info());
        metrics.register_collector(Box::new(OutcomeCollector(Arc::downgrade(&capture))));
        metrics.register_collector(Box::new(ControlMetrics(control.replicas.clone())));
        tasks.spawn("trust anchors", watch);
        tasks.spawn("kernel limit warnings", capture::warn_of_limits(Arc::downgrade(&capture)));
        let splicing = splicing(&capture, &metrics, tasks);
        let (store, clock) = Store::new(identity_config(config, &control), metrics.identity());
        tasks.spawn("clock", clock);
        Ok(Self { control, capture, metrics, splicing, registry: Arc::default(), store })
    }

    fn data_path(&self, config: &Config, tasks: &mut Tasks) -> anyhow::Result<Arc<DataPath>> {
        let Self { capture, metrics, splicing, registry, .. } = self;
        let discovery =
            Discovery::new(self.control.client.clone(), discovery::Config::new(&config.node), metrics);
        tasks.spawn("removal of idle destinations", discovery::drop_idle(Arc::downgrade(&discovery)));
        let node = NodeConnections::new(capture.host().clone());
        let authorizer = Authorizer::new(metrics.clone(), config.cluster_networks.clone(), node);
        let bypass = DirectConnections::new(
            config.direct_pass,
            capture.clone(),
            registry.clone(),
            discovery.clone(),
            authorizer.clone(),
            metrics.clone(),
        );
        if let Some(events) = capture.direct_events().context("the ring of direct connections' events")? {
            tasks.spawn("direct connections", bypass.clone().follow_events(events));
        }
        let connector = Connector::new(
            capture.clone(),
            splicing.clone(),
            registry.clone(),
            discovery.clone(),
            authorizer.clone(),
            metrics.clone(),
            upstream::Timeouts { handshake: config.detect_timeout, certificate: config.certificate_timeout },
        );
        let threads = WorkerThreads::start(worker_threads(config)).context("threads for connections")?;
        let http = Http::new(
            capture.clone(),
            connector.clone(),
            discovery.clone(),
            authorizer.clone(),
            registry.clone(),
            metrics.clone(),
            &config.http(threads.count()),
        );
        tasks.spawn("idle HTTP connections", http.close_idle());
        tasks.spawn("unread HTTP/2 streams", http.bound_unread());
        Ok(Arc::new(DataPath {
            http,
            hints: Hints::default(),
            capture: capture.clone(),
            splicing: splicing.clone(),
            connector,
            discovery,
            authorizer,
            bypass,
            metrics: metrics.clone(),
            threads,
            timeouts: Timeouts {
                detect: config.detect_timeout,
                certificate: config.certificate_timeout,
                idle: config.idle_timeout,
            },
            connections: TaskTracker::new(),
            draining: CancellationToken::new(),
        }))
    }

    /// Starts the tasks that follow the control plane and report to it.
    fn follow_control(
        &self,
        config: &Config,
        supervisor: &Arc<WorkloadSupervisor>,
        reporter: &Arc<StatusReporter>,
        leaving: CancellationToken,
        tasks: &mut Tasks,
    ) -> [AbortHandle; 2] {
        let client = self.control.client.clone();
        let watch = WorkloadWatch::new(
            watch_config(config),
            client,
            supervisor.clone(),
            self.splicing.clone(),
            self.control.issuer.clone(),
        );
        let role = Role::Serving(reporter.clone(), leaving.clone());
        [
            tasks.spawn("control plane sessions", self.control.sessions(config, role)),
            tasks.spawn("workload watch", watch.run(leaving)),
        ]
    }

    /// Starts to answer the tap service, if there is one.
    fn answer_taps(
        &self,
        config: &Config,
        data_path: &DataPath,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(client) = config.tap_identity.clone() else { return Ok(None) };
        let own = config.own_identity().context("--control-plane-namespace, --trust-domain")?;
        // A store of its own: the proxy is ready without this certificate.
        let (store, clock) = Store::new(identity_config(config, &self.control), self.metrics.identity());
        tasks.spawn("clock of the proxy's certificate", clock);
        let listener = host::tap_socket(config)?;
        let address = listener.local_addr().context("--tap")?;
        let server = tap::Server {
            taps: data_path.http.taps(),
            lease: store.lease(&own),
            client,
            draining: data_path.draining.clone(),
        };
        info!(%address, "answering the tap service");
        tasks.spawn("tap server", server.run(listener));
        Ok(Some(address))
    }

    /// Starts the task that hears of pods from the container runtime.
    fn follow_runtime(
        &self,
        config: &Config,
        supervisor: &Arc<WorkloadSupervisor>,
        admissions: Arc<Admissions>,
        connection: Arc<nri::Connection>,
        tasks: &mut Tasks,
    ) -> Option<AbortHandle> {
        let socket = config.nri_socket.clone()?;
        let collector = AdmissionCollector { admissions, connection: connection.clone() };
        self.metrics.register_collector(Box::new(collector));
        let plugin = nri::Plugin::new(socket, supervisor.clone(), connection);
        Some(tasks.spawn("container runtime", plugin.run()))
    }

    fn pages(
        &self,
        config: &Config,
        supervisor: &Arc<WorkloadSupervisor>,
        reporter: Arc<StatusReporter>,
        worst: Arc<Worst>,
        log_level: LevelHandle,
    ) -> admin::Admin {
        let (supervisor, registry) = (supervisor.clone(), self.registry.clone());
        let store = self.store.clone();
        let description = Description {
            config: config.clone(),
            reporter,
            store: self.store.clone(),
            splicing: self.splicing.clone(),
        };
        admin::Admin {
            metrics: self.metrics.clone(),
            readiness: Arc::new(move || supervisor.ready()),
            config: Arc::new(move || description.json()),
            certificates: Arc::new(move || certificates::json(&registry, &store)),
            worst,
            log_level,
        }
    }
}

fn splicing(capture: &Arc<Capture>, metrics: &Metrics, tasks: &mut Tasks) -> Arc<Splicing> {
    let splicing = Splicing::new(capture.clone());
    metrics.register_collector(Box::new(SpliceCollector(splicing.clone())));
    tasks.spawn("removal of unused splices", splicing.clone().sweep());
    metrics.refresh_with({
        let splicing = splicing.clone();
        Box::new(move || splicing.account())
    });
    splicing
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

fn worker_threads(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}
