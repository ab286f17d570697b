//! The labels of series.
//!
//! Names and values are Linkerd's, so that its dashboards and queries work unchanged. A proxy per node serves many
//! pods, so it writes the labels itself that Linkerd's scrape configuration would add (namespace, pod, owner).

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use prometheus_client::encoding::{
    EncodeLabel, EncodeLabelKey, EncodeLabelSet, LabelKeyEncoder, LabelSetEncoder, LabelValueEncoder,
};

use super::intern::Owned;
use crate::{
    net::{Direction, Peer},
    tls::Identity,
};

/// Why a connection has no TLS: values of `no_tls_reason`.
pub mod reason {
    /// The peer is in the same pod.
    pub const LOOPBACK: &str = "loopback";
    /// Discovery knows no identity for the endpoint.
    pub const NOT_PROVIDED_BY_SERVICE_DISCOVERY: &str = "not_provided_by_service_discovery";
    /// The client sent no TLS that the proxy terminates.
    pub const NO_TLS_FROM_REMOTE: &str = "no_tls_from_remote";
    /// The same of a client that is a process of the node, as the kubelet with its health checks.
    pub const FROM_NODE: &str = "from_node";
}

/// The workload of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadLabels {
    pub namespace: String,
    pub pod: String,
    extra: BTreeMap<String, String>,
}

/// How a leg is secured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// mTLS; the peer proved this identity.
    Established(Identity),
    /// TLS was terminated, but the client had no certificate.
    Anonymous,
    /// Both ends are on this node: the kernel proves the identity, TLS is not needed.
    Local(Identity),
    /// Plaintext, for one of [`reason`].
    NoIdentity(&'static str),
    /// The application's own TLS, passed through.
    Opaque {
        /// The server name that the client requested.
        sni: Option<String>,
    },
}

/// The Server resource, or default policy, of a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerLabels {
    /// API group; empty for a default.
    pub group: String,
    /// `server`, or `default`.
    pub kind: String,
    /// The resource's name, or the default policy's.
    pub name: String,
    pub port: u16,
}

/// What let a client in: a ServerAuthorization, an AuthorizationPolicy, or a default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationLabels {
    /// API group; empty for a default.
    pub group: String,
    /// `serverauthorization`, `authorizationpolicy`, or `default`.
    pub kind: String,
    /// The resource's name, the default policy's, or `probe`.
    pub name: String,
}

impl AuthorizationLabels {
    pub fn default_of(name: &str) -> Self {
        Self { group: String::new(), kind: "default".to_owned(), name: name.to_owned() }
    }
}

/// The labels of a connection's leg.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransportLabels {
    pub direction: Direction,
    pub peer: Peer,
    pub workload: Arc<WorkloadLabels>,
    pub tls: Tls,
    /// The address that the leg goes to.
    pub target: SocketAddr,
    /// The policy of the port; for inbound connections.
    pub server: Option<Arc<ServerLabels>>,
    /// The `dst_*` labels of the endpoint; for outbound connections.
    pub destination: Option<Arc<BTreeMap<String, String>>>,
}

/// The labels of an authorization decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthzLabels {
    /// The destination.
    pub workload: Arc<WorkloadLabels>,
    pub target: SocketAddr,
    /// How the connection of the client is secured.
    pub tls: Tls,
    /// The policy of the port.
    pub server: Option<Arc<ServerLabels>>,
    /// The authorization that allowed the client, if any.
    pub authz: Option<Arc<AuthorizationLabels>>,
}

/// The labels of round-trip times and retransmissions, which do not include the endpoint's address and security.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathLabels {
    pub(super) direction: Direction,
    pub(super) workload: Arc<WorkloadLabels>,
    pub(super) destination: Option<Arc<BTreeMap<String, String>>>,
}

/// The labels of an error counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ErrorLabels {
    pub(super) workload: Arc<WorkloadLabels>,
    pub(super) error: &'static str,
}

// A workload's labels are created once, when it is enrolled, so their address identifies it.
macro_rules! owned_by_workload {
    ($($labels:ty),*) => { $(
        impl Owned for $labels {
            fn owner(&self) -> usize {
                Arc::as_ptr(&self.workload).addr()
            }
        }
    )* };
}
owned_by_workload!(TransportLabels, AuthzLabels, PathLabels, ErrorLabels);

/// Adds one label to a set.
pub(super) struct With<'a, L>(pub(super) &'a L, pub(super) (&'static str, &'static str));

/// Adds a prefix to keys and makes them valid label names (`app.kubernetes.io/name` becomes `app_kubernetes_io_name`).
/// If two keys result in the same name, the first is kept.
pub fn sanitize<'a, I>(prefix: &str, labels: I) -> BTreeMap<String, String>
where
    I: IntoIterator<Item = (&'a String, &'a String)>,
{
    let mut clean = BTreeMap::new();
    for (key, value) in labels {
        let mut name = String::with_capacity(prefix.len() + key.len() + 1);
        name.push_str(prefix);
        if prefix.is_empty() && key.starts_with(|c: char| c.is_ascii_digit()) {
            name.push('_');
        }
        name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
        if is_label_name(&name) {
            clean.entry(name).or_insert_with(|| value.clone());
        }
    }
    clean
}

impl WorkloadLabels {
    /// `extra` are the owner's labels (`deployment`, …). Their names are sanitized.
    pub fn new(
        namespace: impl Into<String>,
        pod: impl Into<String>,
        extra: &BTreeMap<String, String>,
    ) -> Self {
        let mut extra = sanitize("", extra);
        // A series with a duplicate label makes the whole scrape invalid.
        extra.retain(|name, _| !RESERVED.contains(&name.as_str()) && !name.starts_with("dst_"));
        Self { namespace: namespace.into(), pod: pod.into(), extra }
    }

    /// All of them, by name.
    pub fn to_map(&self) -> HashMap<String, String> {
        let own = [("namespace", &self.namespace), ("pod", &self.pod)];
        let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
        self.extra.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own).collect()
    }
}

// === encoding ===

impl EncodeLabelSet for TransportLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", self.direction.as_str())?;
        label(out, "peer", self.peer.as_str())?;
        self.workload.write(out)?;
        write_target(out, self.target)?;
        self.tls.write(out, self.direction)?;
        write_server(out, self.server.as_deref())?;
        write_destination(out, self.destination.as_deref())
    }
}

impl EncodeLabelSet for AuthzLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", Direction::Inbound.as_str())?;
        self.workload.write(out)?;
        write_target(out, self.target)?;
        self.tls.write(out, Direction::Inbound)?;
        write_server(out, self.server.as_deref())?;
        if let Some(authz) = &self.authz {
            label(out, "authz_group", &authz.group)?;
            label(out, "authz_kind", &authz.kind)?;
            label(out, "authz_name", &authz.name)?;
        }
        Ok(())
    }
}

impl EncodeLabelSet for PathLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", self.direction.as_str())?;
        self.workload.write(out)?;
        write_destination(out, self.destination.as_deref())
    }
}

impl EncodeLabelSet for ErrorLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.workload.write(out)?;
        label(out, "error", self.error)
    }
}

impl<L: EncodeLabelSet> EncodeLabelSet for With<'_, L> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(out)?;
        label(out, self.1.0, self.1.1)
    }
}

impl EncodeLabelSet for WorkloadLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.write(out)
    }
}

impl WorkloadLabels {
    pub(super) fn write(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "namespace", &self.namespace)?;
        label(out, "pod", &self.pod)?;
        self.extra.iter().try_for_each(|(name, value)| label(out, name, value))
    }
}

impl Tls {
    /// The proven identity of the peer, if any.
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Established(identity) | Self::Local(identity) => Some(identity),
            Self::Anonymous | Self::NoIdentity(_) | Self::Opaque { .. } => None,
        }
    }

    pub(super) fn write(&self, out: &mut LabelSetEncoder<'_>, direction: Direction) -> fmt::Result {
        let id = match direction {
            Direction::Inbound => "client_id",
            Direction::Outbound => "server_id",
        };
        match self {
            Self::Established(identity) => {
                label(out, "tls", "true")?;
                label(out, id, identity.as_str())
            }
            Self::Anonymous => {
                label(out, "tls", "true")?;
                label(out, id, "")
            }
            Self::Local(identity) => {
                label(out, "tls", "local")?;
                label(out, id, identity.as_str())
            }
            Self::NoIdentity(why) => {
                label(out, "tls", "no_identity")?;
                label(out, "no_tls_reason", why)
            }
            Self::Opaque { sni } => {
                label(out, "tls", "opaque")?;
                sni.as_deref().map_or(Ok(()), |sni| label(out, "sni", sni))
            }
        }
    }
}

/// Writes one label. The encoder escapes its value.
pub(super) fn label(out: &mut LabelSetEncoder<'_>, name: &str, value: &str) -> fmt::Result {
    (name, value).encode(out.encode_label())
}

pub(super) fn write_target(out: &mut LabelSetEncoder<'_>, target: SocketAddr) -> fmt::Result {
    display(out, "target_addr", &target)?;
    display(out, "target_ip", &target.ip())?;
    display(out, "target_port", &target.port())
}

pub(super) fn write_server(out: &mut LabelSetEncoder<'_>, server: Option<&ServerLabels>) -> fmt::Result {
    let Some(server) = server else { return Ok(()) };
    label(out, "srv_group", &server.group)?;
    label(out, "srv_kind", &server.kind)?;
    label(out, "srv_name", &server.name)?;
    display(out, "srv_port", &server.port)
}

pub(super) fn write_destination(
    out: &mut LabelSetEncoder<'_>,
    destination: Option<&BTreeMap<String, String>>,
) -> fmt::Result {
    let Some(destination) = destination else { return Ok(()) };
    destination
        .iter()
        .filter(|(name, _)| name.starts_with("dst_") && is_label_name(name))
        .try_for_each(|(name, value)| label(out, name, value))
}

/// Writes a value into the output without an intermediate string.
pub(super) fn display(out: &mut LabelSetEncoder<'_>, name: &str, value: &dyn fmt::Display) -> fmt::Result {
    let mut encoder = out.encode_label();
    let mut key: LabelKeyEncoder<'_> = encoder.encode_label_key()?;
    EncodeLabelKey::encode(&name, &mut key)?;
    let mut writer: LabelValueEncoder<'_> = key.encode_label_value()?;
    write!(writer, "{value}")?;
    writer.finish()
}

fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with("__")
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Label names that the proxy writes itself.
const RESERVED: [&str; 29] = [
    "direction",
    "peer",
    "namespace",
    "pod",
    "target_addr",
    "target_ip",
    "target_port",
    "tls",
    "no_tls_reason",
    "client_id",
    "server_id",
    "sni",
    "srv_group",
    "srv_kind",
    "srv_name",
    "srv_port",
    "authz_group",
    "authz_kind",
    "authz_name",
    "errno",
    "error",
    "le",
    "status_code",
    "classification",
    "grpc_status",
    "http_status",
    "result",
    "overflow",
    "protocol",
];
