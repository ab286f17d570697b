//! The components that all others are built with, and the tasks that need little else.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    certificates,
    control_plane::{ControlPlane, identity_config, watch_config},
    describe::Description,
    host,
    tasks::Tasks,
};
use crate::{
    admin,
    capture::{self, Capture, OutcomeCollector},
    config::Config,
    connection::DataPath,
    control::{ControlMetrics, TlsSettings},
    http::Worst,
    identity::{Store, watch_anchors},
    lifecycle::{AdmissionCollector, Admissions, Role, StatusReporter, WorkloadSupervisor, WorkloadWatch},
    logging::LevelHandle,
    metrics::Metrics,
    nri,
    splice::{SpliceCollector, Splicing},
    tap, tls,
    workload::Registry,
};

/// What the other components are built with.
pub(super) struct Base {
    pub(super) control: ControlPlane,
    pub(super) capture: Arc<Capture>,
    pub(super) metrics: Metrics,
    pub(super) splicing: Arc<Splicing>,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<Store>,
}

impl Base {
    /// Loads and attaches the programs, and starts what needs nothing else. `takeover`: a predecessor hands over.
    pub(super) fn start(config: &Config, takeover: bool, tasks: &mut Tasks) -> anyhow::Result<Self> {
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

    /// Starts the tasks that follow the control plane and report to it.
    pub(super) fn follow_control(
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
    pub(super) fn answer_taps(
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
    pub(super) fn follow_runtime(
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

    /// What the pages of the admin server show.
    pub(super) fn pages(
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
