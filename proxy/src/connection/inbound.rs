//! The steps of a connection to a workload: detect, secure, authorize, connect to the application, forward.
//!
//! mTLS for this pod is terminated; other TLS is the application's own; the rest is plaintext. The application sees the
//! client's own address.

use std::{fmt::Display, sync::Arc};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::debug;

use super::{
    DataPath, Timeouts,
    accepted::Accepted,
    detect::{Detected, Detector, Protocol},
    forward::{CloseReason, Forwarding, Session, forward},
    refuse,
};
use crate::{
    authorize::{Authorization, Authorizer},
    capture::Capture,
    discovery::Discovery,
    metrics::{ConnectionRecord, Metered, Metrics, Tls},
    net::{self, AppStream, Direction, OverTcp, Peer, Prefixed},
    refusal::Reason,
    splice::{RemoteSplice, Splicing},
    tls::{self, TlsError},
    upstream::connect_application,
};

/// What the inbound steps use.
pub(super) struct Inbound<'a> {
    capture: &'a Capture,
    discovery: &'a Discovery,
    authorizer: &'a Arc<Authorizer>,
    splicing: &'a Arc<Splicing>,
    metrics: &'a Metrics,
    timeouts: Timeouts,
}

impl<'a> Inbound<'a> {
    pub(super) fn of(data_path: &'a DataPath) -> Self {
        Self {
            capture: &data_path.capture,
            discovery: &data_path.discovery,
            authorizer: &data_path.authorizer,
            splicing: &data_path.splicing,
            metrics: &data_path.metrics,
            timeouts: data_path.timeouts,
        }
    }
}

/// Serves one connection.
pub(super) async fn serve(components: &Inbound<'_>, accepted: Accepted, stream: TcpStream) {
    // Boxed: what the first steps need is freed before the connection is forwarded, which may take days.
    let Some(forwarding) = Box::pin(open(components, &accepted, stream)).await else { return };
    let reason = forwarding.await;
    if !matches!(reason, CloseReason::Closed) {
        debug!(destination = %accepted.workload.key, client = %accepted.ends.client, %reason, "connection ended early");
    }
}

/// `None`: the connection was refused, or the client went away.
async fn open(components: &Inbound<'_>, accepted: &Accepted, stream: TcpStream) -> Option<Forwarding> {
    let deadline = Instant::now() + components.timeouts.detect;
    let detector = Detector {
        capture: components.capture,
        discovery: components.discovery,
        authorizer: components.authorizer,
        workload: &accepted.workload,
        ends: accepted.ends,
        deadline,
    };
    let Detected { protocol, stream, application } = match detector.detect(stream).await {
        Ok(detected) => detected,
        Err(failed) => {
            match failed.reason {
                Some(reason) => refuse(components, accepted, refuse::plaintext(), reason, &failed.error),
                None => count_client_gone(components, accepted, &failed.error),
            }
            net::reset(failed.stream);
            return None;
        }
    };
    match protocol {
        Protocol::Mtls => {
            let (stream, tls) = terminate(components, accepted, stream, deadline).await?;
            let authorization = authorize(components, accepted, tls.clone(), &stream)?;
            deliver(components, accepted, (stream, tls), authorization, application).await
        }
        Protocol::Tls { sni } => {
            let tls = Tls::Opaque { sni };
            let authorization = authorize(components, accepted, tls.clone(), &stream)?;
            deliver(components, accepted, (stream, tls), authorization, application).await
        }
        Protocol::Plain => {
            let tls = refuse::plaintext();
            let authorization = authorize(components, accepted, tls.clone(), &stream)?;
            deliver(components, accepted, (stream, tls), authorization, application).await
        }
    }
}

type Terminated = (tls::TlsStream<Prefixed<TcpStream>>, Tls);

/// Terminates mTLS that is meant for this pod.
async fn terminate(
    components: &Inbound<'_>,
    accepted: &Accepted,
    stream: Prefixed<TcpStream>,
    deadline: Instant,
) -> Option<Terminated> {
    let Some(credential) = accepted.workload.credential(components.timeouts.certificate).await else {
        let error = "the workload has no certificate yet (see the identity log lines)";
        refuse(components, accepted, refuse::plaintext(), Reason::NoCertificate, &error);
        return None;
    };
    // A TLS alert must arrive, and nobody takes the end of a handshake for an answer of the application.
    net::end_orderly(stream.tcp());
    let handshake = match timeout_at(deadline, tls::accept(&credential, stream)).await {
        Ok(result) => result,
        Err(_) => Err(TlsError::Timeout),
    };
    match handshake {
        Ok((stream, peer)) => {
            net::end_by_reset(stream.tcp());
            Some((stream, peer.identity.map_or(Tls::Anonymous, Tls::Established)))
        }
        Err(error) => {
            refuse(components, accepted, refuse::plaintext(), Reason::Tls(error.reason()), &error);
            None
        }
    }
}

/// Asks the policy. Denials are counted and logged by the authorizer.
fn authorize(
    components: &Inbound<'_>,
    accepted: &Accepted,
    tls: Tls,
    stream: &impl OverTcp,
) -> Option<Authorization> {
    let (target, client) = (accepted.ends.target, accepted.ends.client.ip());
    match components.authorizer.authorize(&accepted.workload, target, client, tls.clone()) {
        Ok(authorization) => Some(authorization),
        Err(_) => {
            let reason = Reason::DeniedByPolicy;
            components.metrics.refused(Direction::Inbound, &accepted.workload.labels, reason);
            refuse::count_closed(components.metrics, &accepted.workload, target, tls, Some(reason.errno()));
            net::end_by_reset(stream.tcp());
            None
        }
    }
}

/// Connects to the application and starts to forward.
async fn deliver<S: OverTcp + Send + 'static>(
    components: &Inbound<'_>,
    accepted: &Accepted,
    (stream, tls): (S, Tls),
    mut authorization: Authorization,
    application: Option<TcpStream>,
) -> Option<Forwarding> {
    let (workload, ends) = (&accepted.workload, accepted.ends);
    // Only clients of the mesh: others have not opted in.
    let splice = authorization.identity().is_some()
        && application.is_none()
        && components.splicing.allows_from(ends.client.ip(), ends.target);
    let application = match application {
        Some(application) => Ok(application),
        None => connect_application(components.capture, workload, ends.target, ends.client, splice).await,
    };
    let application = match application {
        Ok(application) => application,
        Err(failure) => {
            refuse(components, accepted, tls, failure.reason(), &failure);
            net::end_by_reset(stream.tcp());
            return None;
        }
    };
    let source = Metered::new(stream, ConnectionRecord::new(authorization.open_counter(Peer::Src)));
    let record = ConnectionRecord::new(authorization.open_counter(Peer::Dst));
    let mut destination = Metered::new(AppStream::new(application), record);
    let mut session = Session::new(components.timeouts.idle);
    if splice {
        session.remote_splice = RemoteSplice::start(components.splicing, destination.tcp()).await;
        if session.remote_splice.is_some() {
            destination.io_mut().set_in_socket_map();
        }
    }
    Some(forward(source, destination, session, async move {
        authorization.revoked().await;
        CloseReason::PolicyRevoked
    }))
}

fn refuse(components: &Inbound<'_>, accepted: &Accepted, tls: Tls, reason: Reason, error: &dyn Display) {
    let ends = (accepted.ends.target, accepted.ends.client);
    refuse::inbound(components.metrics, &accepted.workload, ends, tls, reason, error);
}

/// The client broke the connection before it was known what it speaks.
fn count_client_gone(components: &Inbound<'_>, accepted: &Accepted, error: &super::detect::Cause) {
    let (workload, target) = (&accepted.workload, accepted.ends.target);
    refuse::count_closed(components.metrics, workload, target, refuse::plaintext(), error.errno());
}
