//! Connects to an endpoint of another node, proving both identities.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{ConnectError, ConnectRequest, Connector, Stream, Upstream, connector::open, transport_header};
use crate::{
    discovery::{Endpoint, EndpointTls},
    metrics::Tls,
    tls::{ClientHello, Inner, TlsError, TlsStream},
};

impl Connector {
    pub(super) async fn connect_mtls(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
        peer: &EndpointTls,
    ) -> Result<Upstream, ConnectError> {
        let to = match endpoint.opaque_transport_port {
            Some(sidecar) => SocketAddr::new(endpoint.addr.ip(), sidecar),
            None => endpoint.addr,
        };
        let credential =
            request.source.credential(self.timeouts.certificate).await.ok_or(ConnectError::NoCertificate)?;
        let tls_error = |error| ConnectError::Tls { to, server: peer.identity.to_string(), error };
        // Make the ClientHello before connecting, which wakes the other proxy: it then finds the hello at once.
        let is_sidecar = endpoint.opaque_transport_port.is_some();
        let alpn = if is_sidecar { &[transport_header::ALPN][..] } else { request.inner.offered() };
        let hello =
            ClientHello::new(&credential, &peer.identity, &peer.server_name, to, alpn).map_err(tls_error)?;
        let started = Instant::now();
        let stream = open(request.source, to).await?;
        let connected = started.elapsed();
        let stream = match timeout(self.timeouts.handshake, hello.secure(stream)).await {
            // The other side, which may have waited for a certificate of its own, is about to refuse this one.
            Ok(Ok(_)) if !credential.is_valid_at(SystemTime::now()) => {
                return Err(ConnectError::ClockChanged(to));
            }
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(tls_error(error)),
            Err(_) => return Err(tls_error(TlsError::Timeout)),
        };
        let stream = if is_sidecar {
            timeout(self.timeouts.handshake, announce(stream, endpoint.addr.port(), request.inner))
                .await
                .unwrap_or(Err(TlsError::Timeout))
                .map_err(tls_error)?
        } else {
            stream
        };
        let stream = Stream::Mtls(Box::new(stream));
        let tls = Tls::Established(peer.identity.clone());
        let upstream = self.upstream(request, stream, endpoint.addr, Some(endpoint), tls, started);
        // The load of an endpoint is how long it takes to accept a connection; the handshake depends on resumption.
        Ok(Upstream { latency: connected, ..upstream })
    }
}

/// Tells a Linkerd sidecar which port of its pod the connection is for. It has to be sent at once: the application may
/// be the one that speaks first.
async fn announce(
    mut stream: TlsStream<TcpStream>,
    port: u16,
    inner: Inner,
) -> Result<TlsStream<TcpStream>, TlsError> {
    if stream.alpn() != Some(transport_header::ALPN) {
        let missing = "the sidecar's inbound port does not speak transport.l5d.io/v1";
        return Err(TlsError::Protocol(rustls::Error::General(missing.to_owned())));
    }
    stream.write_all(&transport_header::encode(port, inner)).await?;
    stream.flush().await?;
    Ok(stream)
}
