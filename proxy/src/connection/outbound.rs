//! The steps of a connection that a workload opens: discover, connect, forward.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tracing::debug;

use super::{
    DataPath,
    accepted::Accepted,
    forward::{CloseReason, Forwarding, ServerFirstObserver, Session, forward},
    refuse,
};
use crate::{
    bypass::DirectConnections,
    discovery::{Destination, Discovery, SourceRef},
    metrics::{ConnectionRecord, Metered, Metrics, Tls, TransportLabels, reason},
    net::{self, AppStream, Direction, Peer},
    splice::{LocalSplice, LocalSpliceGuard, RemoteSplice, Splicing},
    tls::Inner,
    upstream::{ConnectRequest, Connector, LocalUpstream, Stream, Upstream},
};

/// What the outbound steps use.
pub(super) struct Outbound<'a> {
    connector: &'a Connector,
    discovery: &'a Discovery,
    bypass: &'a Arc<DirectConnections>,
    splicing: &'a Arc<Splicing>,
    metrics: &'a Metrics,
    idle_timeout: Duration,
}

impl<'a> Outbound<'a> {
    pub(super) fn of(data_path: &'a DataPath) -> Self {
        Self {
            connector: &data_path.connector,
            discovery: &data_path.discovery,
            bypass: &data_path.bypass,
            splicing: &data_path.splicing,
            metrics: &data_path.metrics,
            idle_timeout: data_path.timeouts.idle,
        }
    }
}

/// Serves one connection.
pub(super) async fn serve(components: &Outbound<'_>, accepted: Accepted, stream: TcpStream) {
    // Boxed: what connecting needs is freed before the connection is forwarded, which may take days.
    let Some(forwarding) = Box::pin(open(components, &accepted, stream)).await else { return };
    let reason = forwarding.await;
    if !matches!(reason, CloseReason::Closed) {
        debug!(source = %accepted.workload.key, destination = %accepted.ends.target, %reason, "connection ended early");
    }
}

/// `None`: the connection was refused.
async fn open(components: &Outbound<'_>, accepted: &Accepted, stream: TcpStream) -> Option<Forwarding> {
    let mut source = meter(components.metrics, accepted, stream);
    match connect(components, accepted).await {
        Some(upstream) => Some(start(components, accepted, source, upstream).await),
        None => {
            source.finish(Some("ECONNREFUSED"));
            net::end_by_reset(source.tcp());
            None
        }
    }
}

/// Counts the accepted connection as open.
fn meter(metrics: &Metrics, accepted: &Accepted, stream: TcpStream) -> Metered<AppStream> {
    let labels = TransportLabels {
        direction: Direction::Outbound,
        peer: Peer::Src,
        workload: accepted.workload.labels.clone(),
        tls: Tls::NoIdentity(reason::LOOPBACK),
        target: accepted.ends.target,
        server: None,
        destination: None,
    };
    let counter = metrics.transport(&labels).open();
    Metered::new(AppStream::new(stream), ConnectionRecord::new(counter))
}

async fn connect(components: &Outbound<'_>, accepted: &Accepted) -> Option<Upstream> {
    let (source, original) = (&accepted.workload, accepted.ends.target);
    let destination = discover(components, accepted).await?;
    let request = ConnectRequest {
        source,
        client: accepted.ends.client,
        original,
        may_splice: accepted.ends.may_splice,
        inner: Inner::Tcp,
    };
    match components.connector.connect(&request, destination).await {
        Ok(upstream) => Some(upstream),
        Err(error) => {
            refuse::outbound(components.metrics, source, original, error.reason(), &error);
            None
        }
    }
}

async fn discover(components: &Outbound<'_>, accepted: &Accepted) -> Option<Arc<Destination>> {
    let (source, original) = (&accepted.workload, accepted.ends.target);
    let asker = SourceRef { namespace: source.key.namespace.clone(), pod: source.key.name.clone() };
    match components.discovery.resolve(original, &asker).await {
        Ok(destination) => Some(destination),
        Err(error) if error.is_timeout() && source.config().fail_open => {
            debug!(source = %source.key, destination = %original, %error, "fail mode open: forwarding unchanged");
            Some(Arc::new(Destination::External))
        }
        Err(error) => {
            refuse::outbound(components.metrics, source, original, error.reason(), &error);
            None
        }
    }
}

async fn start(
    components: &Outbound<'_>,
    accepted: &Accepted,
    mut source: Metered<AppStream>,
    upstream: Upstream,
) -> Forwarding {
    let Upstream { io, addr, picked, local, splice, .. } = upstream;
    let mut session = Session::new(components.idle_timeout);
    session.picked = picked;
    let Some(LocalUpstream { workload, mut authorization }) = local else {
        if splice {
            session.remote_splice = RemoteSplice::start(components.splicing, source.tcp()).await;
            if session.remote_splice.is_some() {
                source.io_mut().set_in_socket_map();
            }
        }
        return forward(source, io, session, pending());
    };
    source.add(authorization.open_counter(Peer::Src));
    let original = accepted.ends.target;
    // Otherwise nobody listens at the address that was dialled.
    if addr.is_ipv6() == original.is_ipv6() {
        components.bypass.maybe_grant(&accepted.workload, original);
    }
    if splice {
        session.local_splice = splice_locally(components.splicing, &source, &io);
    } else {
        let (bypass, source) = (components.bypass.clone(), accepted.workload.clone());
        session.server_first = Some(ServerFirstObserver::new(move |after| {
            bypass.server_spoke_first(&workload, addr.port(), after);
            bypass.maybe_grant(&source, original);
        }));
    }
    forward(source, io, session, async move {
        let terminated = authorization.pod_token();
        tokio::select! {
            () = authorization.revoked() => CloseReason::PolicyRevoked,
            // The kernel would try to deliver the last bytes to a pod that has gone away for a quarter of an hour.
            () = terminated.cancelled() => CloseReason::PodTerminated,
        }
    })
}

fn splice_locally(
    splicing: &Arc<Splicing>,
    source: &Metered<AppStream>,
    destination: &Metered<Stream>,
) -> Option<LocalSpliceGuard> {
    LocalSplice::start(
        splicing,
        (source.tcp(), source.counters().cloned().collect()),
        (destination.tcp(), destination.counters().cloned().collect()),
    )
}
