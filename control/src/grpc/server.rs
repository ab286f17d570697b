//! Which services does the one listener serve, and within which limits?

use std::time::Duration;

use tokio::{net::TcpListener, sync::watch};
use tonic::transport::Server;
use weft_api::{
    linkerd::{
        destination::destination_server::DestinationServer, identity::identity_server::IdentityServer,
    },
    node::node_server::NodeServer,
};

use super::connections;
use crate::{destination::Destinations, identity::Identities, node::Nodes};

/// Streams on one connection: a profile and the endpoints of 20 000 destinations, with room to spare.
const MAX_STREAMS_PER_CONNECTION: u32 = 65_536;
/// No request is larger: names, a token, a certificate signing request.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// A node's report about all its pods: thousands of them.
const MAX_REPORT_BYTES: usize = 2 << 20;
/// A client that answers no ping is gone, with all its streams. A proxy that hangs is let go after 5 to 7 s: not before
/// the kernel of its node gives it up (`--stale-after`, 5 s), for until then connections still wait for it there.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long calls may take to end after the streams were told to.
const DRAIN: Duration = Duration::from_secs(5);

/// The services.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) destinations: Destinations,
    pub(crate) identities: Identities,
    pub(crate) nodes: Nodes,
}

/// Serves until `stopping` says so, and calls that are under way for a little longer.
pub(crate) async fn serve(
    listener: TcpListener,
    services: Services,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let mut stop = stopping.clone();
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(
            DestinationServer::new(services.destinations).max_decoding_message_size(MAX_REQUEST_BYTES),
        )
        .add_service(IdentityServer::new(services.identities).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(NodeServer::new(services.nodes).max_decoding_message_size(MAX_REPORT_BYTES))
        .serve_with_incoming_shutdown(connections::accept(listener), async move {
            // An error means that nobody is left who could stop it: an end as well.
            let _ = stop.wait_for(|stop| *stop).await;
        });
    let overdue = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served,
        () = overdue => {
            tracing::warn!("calls were still under way after {DRAIN:?}; they are cut");
            Ok(())
        }
    }
}
