//! Serves all gRPC services on one listener.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use weft_api::{
    linkerd::{
        identity::identity_server::IdentityServer,
        inbound::inbound_server_policies_server::InboundServerPoliciesServer,
    },
    node::node_server::NodeServer,
};

use super::{connections, tls::Handshakes};
use crate::{
    destination::{DestinationServer, Destinations},
    identity::{Identities, OwnCertificate},
    metrics::Metrics,
    node::Nodes,
    outbound::{OutboundPolicies, OutboundServer},
    policy::Policies,
};

/// Streams on one connection: the profile, the endpoints and the policy of 20 000 destinations, and some to spare.
const MAX_STREAMS_PER_CONNECTION: u32 = 65_536;
/// The largest requests hold names, a token and a certificate signing request.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// A node's report lists all its pods: thousands of them.
const MAX_REPORT_BYTES: usize = 2 << 20;
/// A client that does not answer pings is disconnected, and its streams end. A proxy that hangs is disconnected after 5
/// to 7 s: not before the kernel of its node considers it dead (`--stale-after`, 5 s), because until then connections
/// still wait for it there.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long calls may take to end once weft-control stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) destinations: Destinations,
    pub(crate) identities: Identities,
    pub(crate) nodes: Nodes,
    pub(crate) outbound: OutboundPolicies,
    pub(crate) policies: Policies,
}

/// Serves until `stop`, then lets calls finish.
pub(crate) async fn serve(
    listener: TcpListener,
    certificate: Arc<OwnCertificate>,
    services: Services,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    let handshakes = Handshakes::new(certificate)?;
    let connections = connections::accept(listener, handshakes, metrics, stop.clone());
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(DestinationServer::new(services.destinations, MAX_REQUEST_BYTES))
        .add_service(OutboundServer::new(services.outbound, MAX_REQUEST_BYTES))
        .add_service(IdentityServer::new(services.identities).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(
            InboundServerPoliciesServer::new(services.policies).max_decoding_message_size(MAX_REQUEST_BYTES),
        )
        .add_service(NodeServer::new(services.nodes).max_decoding_message_size(MAX_REPORT_BYTES))
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let timeout = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        served = server => Ok(served?),
        () = timeout => {
            tracing::warn!("calls did not end within {DRAIN_TIMEOUT:?}; closing their connections");
            Ok(())
        }
    }
}
