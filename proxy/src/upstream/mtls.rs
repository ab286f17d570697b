//! Connects to an endpoint of another node, proving both identities.

use std::time::{Instant, SystemTime};

use tokio::time::timeout;

use super::{ConnectError, ConnectRequest, Connector, Stream, Upstream, connector::open};
use crate::{
    discovery::{Endpoint, EndpointTls},
    metrics::Tls,
    tls::{ClientHello, TlsError},
};

impl Connector {
    pub(super) async fn connect_mtls(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
        peer: &EndpointTls,
    ) -> Result<Upstream, ConnectError> {
        let to = endpoint.addr;
        let credential =
            request.source.credential(self.timeouts.certificate).await.ok_or(ConnectError::NoCertificate)?;
        let tls_error = |error| ConnectError::Tls { to, server: peer.identity.to_string(), error };
        // Make the ClientHello before connecting, which wakes the other proxy: it then finds the hello at once.
        let hello = ClientHello::new(&credential, &peer.identity, &peer.server_name, to, request.inner)
            .map_err(tls_error)?;
        let started = Instant::now();
        let stream = open(request.source, to).await?;
        let connected = started.elapsed();
        let stream = match timeout(self.timeouts.handshake, hello.secure(stream)).await {
            // The other side, which may have waited for a certificate of its own, is about to refuse this one.
            Ok(Ok(_)) if !credential.is_valid_at(SystemTime::now()) => {
                return Err(ConnectError::ClockChanged(to));
            }
            Ok(Ok(stream)) => Stream::Mtls(Box::new(stream)),
            Ok(Err(error)) => return Err(tls_error(error)),
            Err(_) => return Err(tls_error(TlsError::Timeout)),
        };
        let tls = Tls::Established(peer.identity.clone());
        let upstream = self.upstream(request, stream, to, Some(endpoint), tls, started);
        // The load of an endpoint is how long it takes to accept a connection; the handshake depends on resumption.
        Ok(Upstream { latency: connected, ..upstream })
    }
}
