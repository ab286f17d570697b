//! What becomes of a connection that comes to a workload?
//!
//! mTLS for this pod is terminated, other TLS is the application's, plaintext is plaintext; then policy decides,
//! then the application gets the connection, with the client's own address.
#![forbid(unsafe_code)]

mod admit;
mod first;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

pub use self::admit::{Admission, admit};
use self::first::{First, Kind, Opening};
use crate::{
    app::Shared,
    detect::Prefixed,
    metrics::{Direction, Peer, Tls, TransportLabels, reason},
    policy::Client,
    splice::Hop,
    tcp::{self, Carried, ConnectError, End, Legs, Member, Relay},
    tls::{self, TlsError},
    workloads::Workload,
};

/// Serves one connection to `workload`.
pub async fn serve(shared: &Arc<Shared>, workload: &Arc<Workload>, stream: TcpStream) {
    let (Ok(target), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return tcp::reset(stream);
    };
    let target = SocketAddr::new(target.ip().to_canonical(), target.port());
    let client = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !workload.ips.contains(&target.ip()) {
        shared.metrics.inbound_error(&workload.labels, "not steered");
        if workload.throttle.admits("not steered") {
            warn!(destination = %workload.key, %client, addr = %target, "a connection to the proxy's own port was refused");
        }
        return tcp::reset(stream);
    }
    let connection = Connection { shared, workload, target, client };
    let Some(relay) = Box::pin(connection.open(stream)).await else { return };
    connection.ended(&relay.await);
}

/// Connects to the application of `workload`, which sees `client` as its peer. `splice`: the connection may be
/// spliced.
///
/// # Errors
/// The application does not take the connection, in the time that the workload gives it.
pub async fn application(
    shared: &Shared,
    workload: &Workload,
    target: SocketAddr,
    client: SocketAddr,
    splice: bool,
) -> Result<TcpStream, ConnectError> {
    let socket = workload.stock.take(target.is_ipv6()).await?;
    // An IPv4 socket cannot show an IPv6 client, nor the other way round: it shows the pod's own address then.
    if client.is_ipv6() == target.is_ipv6() {
        shared.capture.stand_for(&socket, client, splice).map_err(std::io::Error::other)?;
    }
    let result = tcp::connect(socket, target, workload.terms().inbound_connect_timeout).await;
    if result.is_err() {
        workload.listeners_changed();
    }
    result
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    workload: &'a Arc<Workload>,
    target: SocketAddr,
    client: SocketAddr,
}

impl Connection<'_> {
    /// `None`: it was refused.
    async fn open(&self, stream: TcpStream) -> Option<Relay> {
        let deadline = Instant::now() + self.shared.limits.detect;
        let opening = Opening {
            shared: self.shared,
            workload: self.workload,
            target: self.target,
            client: self.client,
            deadline,
        };
        match opening.read(stream).await {
            Ok(First { kind: Kind::Mtls, stream, application }) => {
                // An alert must arrive; nobody takes an end within a handshake for an answer.
                tcp::end_orderly(stream.tcp());
                self.terminate(stream, application, deadline).await
            }
            Ok(First { kind: Kind::Tls { sni }, stream, application }) => {
                self.pass(stream, Tls::Opaque { sni }, application).await
            }
            Ok(First { kind: Kind::Plain, stream, application }) => {
                self.pass(stream, Tls::NoIdentity(reason::NO_TLS_FROM_REMOTE), application).await
            }
            Err(failed) => {
                if let Some(error) = failed.error {
                    self.shared.metrics.inbound_error(&self.workload.labels, error);
                    if self.workload.throttle.admits(error) {
                        warn!(destination = %self.workload.key, addr = %self.target, client = %self.client, reason = error, "refused");
                    }
                }
                self.count_refused(Tls::NoIdentity(reason::NO_TLS_FROM_REMOTE), failed.errno);
                tcp::reset(failed.stream);
                None
            }
        }
    }

    /// mTLS meant for this pod.
    async fn terminate(
        &self,
        stream: Prefixed<TcpStream>,
        application: Option<TcpStream>,
        deadline: Instant,
    ) -> Option<Relay> {
        let Some(credential) = self.workload.credential(self.shared.limits.certificate).await else {
            self.shared.metrics.inbound_error(&self.workload.labels, "no certificate");
            if self.workload.throttle.admits("no certificate") {
                warn!(destination = %self.workload.key, client = %self.client, "refused: the workload has no certificate yet");
            }
            tcp::reset(stream.into_parts().1);
            return None;
        };
        let handshake = match timeout_at(deadline, tls::accept(&credential, stream)).await {
            Ok(result) => result,
            Err(_) => Err(TlsError::Timeout),
        };
        let (stream, peer) = match handshake {
            Ok(accepted) => accepted,
            Err(error) => {
                self.shared.metrics.inbound_error(&self.workload.labels, error.reason());
                self.count_refused(Tls::NoIdentity(reason::NO_TLS_FROM_REMOTE), Some("TLS"));
                if self.workload.throttle.admits(error.reason()) {
                    warn!(destination = %self.workload.key, addr = %self.target, client = %self.client, reason = error.reason(), %error, "TLS handshake refused");
                }
                return None;
            }
        };
        tcp::end_by_reset(stream.tcp());
        let tls = match peer.identity {
            Some(identity) => Tls::Established(identity),
            None => Tls::Anonymous,
        };
        self.pass(stream, tls, application).await
    }

    /// Asks for admission and, if granted, lets the application have the connection.
    async fn pass<S: Carried + Send + 'static>(
        &self,
        stream: S,
        tls: Tls,
        application: Option<TcpStream>,
    ) -> Option<Relay> {
        let identity = match &tls {
            Tls::Established(identity) => Some(identity.clone()),
            _ => None,
        };
        let client = Client { ip: self.client.ip(), identity: identity.as_ref() };
        let admission = match admit(self.shared, self.workload, self.target, client, tls.clone()) {
            Ok(admission) => admission,
            Err(_) => {
                self.count_refused(tls, Some("EACCES"));
                reset(stream);
                return None;
            }
        };
        // Who comes from the mesh: others have not opted in.
        let splice = identity.is_some()
            && application.is_none()
            && self.shared.splicing.allows_from(self.client.ip(), self.target);
        let application = match application {
            Some(application) => Ok(application),
            None => {
                let (shared, workload) = (self.shared, self.workload);
                self::application(shared, workload, self.target, self.client, splice).await
            }
        };
        match application {
            Ok(application) => {
                let (source, destination) = admission.open();
                let mut legs =
                    Legs { source: vec![source], destination: vec![destination], ..Legs::default() };
                if splice {
                    legs.hop = Hop::start(&self.shared.splicing, &application).await;
                }
                let idle = self.shared.limits.idle;
                let revoked = admission.revoked();
                Some(match legs.hop {
                    Some(_) => tcp::relay(stream, Member(application), legs, idle, revoked),
                    None => tcp::relay(stream, application, legs, idle, revoked),
                })
            }
            Err(error) => {
                self.shared.metrics.inbound_error(&self.workload.labels, "connect");
                if self.workload.throttle.admits("connect") {
                    warn!(destination = %self.workload.key, addr = %self.target, client = %self.client, identity = identity.as_ref().map(tracing::field::display), %error, "refused: the application does not take the connection");
                }
                self.count_refused(tls, Some(error.errno()));
                reset(stream);
                None
            }
        }
    }

    fn ended(&self, end: &End) {
        match end {
            End::Closed => {}
            End::Broken(broken) => {
                debug!(destination = %self.workload.key, client = %self.client, reason = %broken, "connection broken");
            }
            End::Idle(limit) => {
                debug!(destination = %self.workload.key, client = %self.client, ?limit, "connection was idle too long");
            }
            // Logged where it was decided.
            End::Revoked | End::Departed => {}
        }
    }

    fn count_refused(&self, tls: Tls, errno: Option<&'static str>) {
        let labels = TransportLabels {
            direction: Direction::Inbound,
            peer: Peer::Src,
            workload: self.workload.labels.clone(),
            tls,
            target: self.target,
            server: Some(self.workload.terms().policies.port(self.target.port()).labels),
            destination: None,
        };
        self.shared.metrics.transport(&labels).open().close(errno);
    }
}

/// Ends the connection beneath with a reset.
fn reset(stream: impl Carried) {
    tcp::end_by_reset(stream.tcp());
}
