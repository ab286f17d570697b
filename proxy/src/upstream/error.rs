//! Why a destination could not be reached.

use std::{io, net::SocketAddr, sync::Arc};

use crate::{net::ConnectFailure, policy::DenyReason, refusal::Reason, tls::TlsError};

/// A destination was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0} has no ready endpoint")]
    NoEndpoint(String),
    #[error("connecting to {to}: {failure}")]
    Connect { to: SocketAddr, failure: ConnectFailure },
    #[error("{0} left the service or the mesh while it was being tried")]
    Outdated(SocketAddr),
    #[error("no socket in the pod's network namespace: {0}")]
    Socket(io::Error),
    #[error("mTLS with {to} as {server}: {error}")]
    Tls { to: SocketAddr, server: String, error: TlsError },
    #[error("the system clock changed during the TLS handshake with {0}")]
    ClockChanged(SocketAddr),
    #[error("the source workload has no certificate (see the identity log lines)")]
    NoCertificate,
    #[error("{destination} port {port} denies {client}: {reason}")]
    Denied { destination: String, port: u16, client: String, reason: DenyReason },
    /// Several have waited for the attempt.
    #[error("{0}")]
    Shared(Arc<ConnectError>),
}

impl ConnectError {
    /// For metrics and logs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoEndpoint(_) => Reason::NoReadyEndpoint,
            Self::Connect { failure, .. } => failure.reason(),
            Self::Outdated(_) => Reason::EndpointChanged,
            Self::Socket(_) => Reason::Io,
            Self::Tls { error, .. } => Reason::Tls(error.reason()),
            Self::ClockChanged(_) => Reason::ClockChanged,
            Self::NoCertificate => Reason::NoCertificate,
            Self::Denied { .. } => Reason::DeniedByPolicy,
            Self::Shared(error) => error.reason(),
        }
    }

    /// Whether another endpoint would not help, or must not be tried.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.itself(), Self::NoCertificate | Self::Socket(_) | Self::Denied { .. })
    }

    /// Whether the endpoint says nothing against its load: something else went wrong.
    pub(crate) fn is_endpoints_fault(&self) -> bool {
        !matches!(self.itself(), Self::Outdated(_) | Self::ClockChanged(_))
    }

    /// Whether nobody listens at the address: another address of the same pod may be served.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self.itself(), Self::Connect { .. })
    }

    /// Whether the same endpoint may answer a moment later: nobody has refused.
    pub(crate) fn is_transient(&self) -> bool {
        match self.itself() {
            Self::Connect { failure, .. } => failure.is_transient(),
            // No TLS, or its abrupt end: the endpoint's proxy has just died, and its pod fails open. The control plane
            // is about to say so.
            Self::Tls { error: TlsError::Closed | TlsError::Io(_) | TlsError::Protocol(_), .. } => true,
            // The clock was set a moment ago; the workload whose certificate that invalidated is about to get a new one.
            Self::Tls { error: TlsError::Expired | TlsError::NotYetValid, .. } => true,
            Self::Outdated(_) | Self::ClockChanged(_) => true,
            _ => false,
        }
    }

    fn itself(&self) -> &Self {
        match self {
            Self::Shared(error) => error,
            error => error,
        }
    }
}
