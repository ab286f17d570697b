//! Why a connection is refused: one set of reasons for outbound, inbound and same-node connections.
//!
//! The reason is the value of the label `error` of `inbound_tcp_errors_total` and `outbound_tcp_errors_total`, and the
//! field `reason` of the log line. docs/metrics.md lists them all, with what an operator can do.

use std::fmt;

/// Why a connection could not be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The service has no ready endpoint.
    NoReadyEndpoint,
    /// The endpoint, or the application, answered with a reset.
    RefusedByEndpoint,
    /// Nobody answered within the connect timeout, or there is no route.
    EndpointUnreachable,
    /// The endpoint left the service, or the mesh, while it was being tried, and no other was found.
    EndpointChanged,
    /// The destination's policy does not let the client in.
    DeniedByPolicy,
    /// The workload on this node has no valid certificate.
    NoCertificate,
    /// The destination is not known and the control plane does not answer.
    ControlPlaneUnavailable,
    /// More destinations are in use than the proxy watches.
    TooManyDestinations,
    /// The workload has as many connections open as one may have.
    WorkloadLimit,
    /// The workload has used up its quota of the node's connections.
    NodeLimit,
    /// The client has used up its quota of this workload's connections.
    ClientLimit,
    /// Somebody in the pod connected to a port of the proxy, or the kernel had no room for the original destination.
    NoOriginalDestination,
    /// The client did not show in time what it speaks, and policy does not allow plaintext.
    DetectionTimeout,
    /// The system clock was set while the TLS handshake was under way.
    ClockChanged,
    /// The TLS handshake failed: `tls_` and the cause, see [`crate::tls::TlsError::reason`].
    Tls(&'static str),
    /// A system call of the proxy failed: no descriptors, no memory.
    Io,
}

impl Reason {
    /// All but the causes of failed TLS handshakes.
    pub const ALL: [Self; 15] = [
        Self::NoReadyEndpoint,
        Self::RefusedByEndpoint,
        Self::EndpointUnreachable,
        Self::EndpointChanged,
        Self::DeniedByPolicy,
        Self::NoCertificate,
        Self::ControlPlaneUnavailable,
        Self::TooManyDestinations,
        Self::WorkloadLimit,
        Self::NodeLimit,
        Self::ClientLimit,
        Self::NoOriginalDestination,
        Self::DetectionTimeout,
        Self::ClockChanged,
        Self::Io,
    ];

    /// The value of the metric label `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoReadyEndpoint => "no ready endpoint",
            Self::RefusedByEndpoint => "refused by endpoint",
            Self::EndpointUnreachable => "endpoint unreachable",
            Self::EndpointChanged => "endpoint changed",
            Self::DeniedByPolicy => "denied by policy",
            Self::NoCertificate => "no certificate",
            Self::ControlPlaneUnavailable => "control plane unavailable",
            Self::TooManyDestinations => "too many destinations",
            // Linkerd's word for a limit that is reached.
            Self::WorkloadLimit => "loadshed",
            Self::NodeLimit => "loadshed node",
            Self::ClientLimit => "loadshed client",
            Self::NoOriginalDestination => "no original destination",
            // Linkerd's.
            Self::DetectionTimeout => "tls detection timeout",
            Self::ClockChanged => "clock changed",
            Self::Tls(reason) => reason,
            Self::Io => "i/o",
        }
    }

    /// The `errno` under which a refused inbound connection is counted as closed.
    pub const fn errno(self) -> &'static str {
        match self {
            Self::DeniedByPolicy => "EACCES",
            Self::EndpointUnreachable | Self::DetectionTimeout => "ETIMEDOUT",
            Self::Tls(_) => "TLS",
            _ => "ECONNREFUSED",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
