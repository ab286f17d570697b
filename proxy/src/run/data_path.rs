//! Builds the components that carry connections.

use std::{sync::Arc, thread};

use anyhow::Context;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{base::Base, tasks::Tasks};
use crate::{
    authorize::Authorizer,
    bypass::DirectConnections,
    capture::NodeConnections,
    config::Config,
    connection::{DataPath, Hints, Timeouts},
    discovery::{self, Discovery},
    http::Http,
    threads::WorkerThreads,
    upstream::{self, Connector},
};

impl Base {
    /// Builds what carries connections, and starts its threads and tasks.
    pub(super) fn data_path(&self, config: &Config, tasks: &mut Tasks) -> anyhow::Result<Arc<DataPath>> {
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
}

fn worker_threads(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}
