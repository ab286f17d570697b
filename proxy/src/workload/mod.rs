//! The model of a meshed pod: its name, identity, configuration and sockets. No behaviour.
#![forbid(unsafe_code)]

mod registry;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use weft_common::PortRange;

pub use self::registry::Registry;
use crate::{
    capture::{Netns, SocketPool},
    identity::Lease,
    limits::{ConnectionLimiter, RequestLimiter},
    logging::LogLimiter,
    metrics::WorkloadLabels,
    policy::{DeclaredProtocol, Policies},
    tls::{Credential, Identity},
};

/// A pod that is served by this proxy: everything that the data path needs to know about it.
pub struct Workload {
    pub key: Key,
    pub identity: Identity,
    pub ips: Vec<IpAddr>,
    pub labels: Arc<WorkloadLabels>,
    /// Bounds the log lines that others can cause.
    pub log_limiter: LogLimiter,
    /// Sockets in the pod's network namespace.
    pub sockets: SocketPool,
    /// The pod's applications may take TCP Fast Open connections (as of enrollment).
    pub fast_open: bool,
    /// No other pod is on its links (as of enrollment).
    pub isolated_links: bool,
    pub netns: Netns,
    pub lease: Lease,
    pub config: channel::Sender<Arc<WorkloadConfig>>,
    /// Cancelled when the pod has gone away and its connections are to be ended.
    pub terminated: CancellationToken,
    /// The kernel's list of the applications' listeners is to be checked.
    pub rescan: Notify,
    pub limiter: Arc<ConnectionLimiter>,
    /// Bounds its requests in flight.
    pub requests: Arc<RequestLimiter>,
    /// A listener of the proxy in the pod was destroyed.
    pub listener_lost: Notify,
    /// When this process began to serve it.
    pub enrolled_at: Instant,
    /// It is about to leave the mesh.
    pub leaving: AtomicBool,
}

/// How long peers may take to notice that a workload has joined or left the mesh.
pub const PEERS_NOTICE: Duration = Duration::from_secs(3);

/// The part of a workload's configuration that can change while it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadConfig {
    pub policies: Policies,
    /// Without a proxy or control plane its connections go directly.
    pub fail_open: bool,
    /// Connections from and to it may bypass the proxy where nothing is lost by it.
    pub direct_pass: bool,
    pub outbound_connect_timeout: Duration,
    pub inbound_connect_timeout: Duration,
    /// Ports on which it is reached without the proxy.
    pub skip_inbound: Vec<PortRange>,
    /// Ports whose connections from this workload may be spliced.
    pub splice: Vec<PortRange>,
    /// Ports whose connections must not be interpreted.
    pub opaque_ports: Vec<PortRange>,
    /// Detection waits without a limit for the first bytes of connections to it.
    pub inbound_detect_timeout_disabled: bool,
    /// The same for its own connections.
    pub outbound_detect_timeout_disabled: bool,
    /// How the requests to it are logged, if at all.
    pub access_log: Option<AccessLogFormat>,
    /// Its requests are never shown.
    pub tap_disabled: bool,
}

/// The format of an access log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessLogFormat {
    /// Lines in Apache's common log format.
    Apache,
    /// JSON objects.
    Json,
}

/// The namespace and name of a pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl WorkloadConfig {
    /// The protocol that is declared for connections to `port`.
    pub fn inbound_protocol(&self, port: u16) -> DeclaredProtocol {
        match contains(&self.opaque_ports, port) {
            true => DeclaredProtocol::Opaque,
            false => self.policies.protocol(port),
        }
    }
}

impl Workload {
    /// The configuration of this moment.
    pub fn config(&self) -> Arc<WorkloadConfig> {
        self.config.borrow().clone()
    }

    pub fn config_changes(&self) -> channel::Receiver<Arc<WorkloadConfig>> {
        self.config.subscribe()
    }

    /// Its certificate; waits for one that is valid up to `limit`.
    pub async fn credential(&self, limit: Duration) -> Option<Arc<Credential>> {
        if let Some(credential) = self.lease.current() {
            return Some(credential);
        }
        let _ = tokio::time::timeout(limit, self.lease.usable()).await;
        self.lease.current()
    }

    /// Whether peers may take it for an unmeshed pod, although its connections still come to the proxy.
    pub fn is_changing(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.enrolled_at.elapsed() < PEERS_NOTICE
    }

    /// Its address of the same family as `other`.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.ips.iter().copied().find(|ip| ip.is_ipv6() == other.is_ipv6())
    }

    /// Whether connections to `port` reach the application without the proxy.
    pub fn skips_inbound(&self, port: u16) -> bool {
        contains(&self.config.borrow().skip_inbound, port)
    }
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").field("key", &self.key).field("ips", &self.ips).finish_non_exhaustive()
    }
}

fn contains(ranges: &[PortRange], port: u16) -> bool {
    ranges.iter().any(|range| (range.start..=range.end).contains(&port))
}
