//! Connects to a workload of the same node: straight to its application, from inside its network namespace.
//!
//! There is no TLS: the kernel vouches for both identities. The same policy decides as for connections from other
//! nodes, and both workloads count the connection.

use std::{sync::Arc, time::Instant};

use super::{ConnectError, ConnectRequest, Connector, Stream, Upstream, connect_application};
use crate::{authorize::Authorization, discovery::Endpoint, metrics::Tls, net::Peer, workload::Workload};

/// What belongs to a destination on this node.
pub struct LocalUpstream {
    pub workload: Arc<Workload>,
    /// The destination's permission for the source.
    pub authorization: Authorization,
}

impl Connector {
    pub(super) async fn connect_local(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
        workload: Arc<Workload>,
        splice: bool,
    ) -> Result<Upstream, ConnectError> {
        let started = Instant::now();
        let (to, client) = (endpoint.addr, request.client_for(endpoint.addr));
        let identity = &request.source.identity;
        let tls = Tls::Local(identity.clone());
        let authorization =
            self.authorizer.authorize(&workload, to, client, tls).map_err(|reason| ConnectError::Denied {
                destination: workload.key.to_string(),
                port: to.port(),
                client: identity.to_string(),
                reason,
            })?;
        let stream = connect_application(&self.capture, &workload, to, client, splice)
            .await
            .map_err(|failure| ConnectError::Connect { to, failure })?;
        let tls = Tls::Local(workload.identity.clone());
        let mut upstream = self.upstream(request, Stream::Plain(stream), to, Some(endpoint), tls, started);
        upstream.io.add(authorization.open_counter(Peer::Dst));
        let local = Some(LocalUpstream { workload, authorization });
        Ok(Upstream { local, splice, ..upstream })
    }
}
