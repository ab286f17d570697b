//! Opens the connections on which a workload's requests are sent.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    client::Client,
    endpoint::{Need, Source},
    http1::Http1,
    http2::Http2,
    io::HttpIo,
    origin::{Origin, Target},
    pool::Key,
    server::HttpVersion,
    settings::HTTP2,
};
use crate::{
    balance::Balancer,
    discovery::Endpoint,
    metrics::Tls,
    net::Peer,
    tls::Inner,
    upstream::{ConnectError, ConnectRequest, Upstream},
};

impl Source {
    /// A new connection.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        balancer: Option<&Arc<Balancer>>,
        need: Need,
        key: &Key,
    ) -> Result<Client, ConnectError> {
        let shared = self.http.pools.shared(key);
        if need.spoken_with(endpoint) == HttpVersion::Http1 {
            let opened = self.open_http1(endpoint, balancer).await;
            let opened = opened.map_err(|failure| shared.failures.add(failure))?;
            shared.failures.end();
            return Ok(Client::Http1(opened));
        }
        let failures = shared.failures.count();
        let _one_at_a_time = shared.opening.lock().await;
        if let Some(open) = shared.get(self.valid(endpoint)) {
            return Ok(Client::Http2(open));
        }
        // The endpoint has failed while this request waited for it: one after the other would wait for too long.
        if let Some(failure) = shared.failures.since(failures) {
            return Err(ConnectError::Shared(failure));
        }
        let opened = self.open_http2(endpoint, balancer).await;
        let opened = opened.map_err(|failure| shared.failures.add(failure))?;
        shared.failures.end();
        shared.add(&opened);
        Ok(Client::Http2(opened))
    }

    async fn open_http1(
        &self,
        endpoint: &Endpoint,
        balancer: Option<&Arc<Balancer>>,
    ) -> Result<Http1, ConnectError> {
        let upstream = self.connect(endpoint, balancer, Inner::Http1).await?;
        let (io, origin) = self.adopt(upstream, endpoint, balancer);
        // HTTP/2 asks by PING.
        let io = io.silent_for(self.http.silence_timeout);
        Http1::open(io, origin).await.map_err(|error| broken(endpoint, &error))
    }

    async fn open_http2(
        &self,
        endpoint: &Endpoint,
        balancer: Option<&Arc<Balancer>>,
    ) -> Result<Http2, ConnectError> {
        let upstream = self.connect(endpoint, balancer, Inner::Http2).await?;
        let (io, origin) = self.adopt(upstream, endpoint, balancer);
        Http2::open(io, origin, &HTTP2).await.map_err(|error| broken(endpoint, &error))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        balancer: Option<&Arc<Balancer>>,
        inner: Inner,
    ) -> Result<Upstream, ConnectError> {
        let early = self.early.lock().take();
        // A sidecar was told that the early one carries no HTTP.
        if let Some(early) = early
            && endpoint.opaque_transport_port.is_none()
            && early.endpoint.as_ref().is_some_and(|open| open.is_reached_like(endpoint))
        {
            return Ok(early);
        }
        let request = ConnectRequest {
            source: &self.workload,
            client: self.client,
            original: self.original,
            may_splice: false,
            inner,
        };
        match balancer {
            Some(balancer) => self.http.connector.connect_one(&request, balancer, endpoint).await,
            None => self.http.connector.connect_pod(&request, endpoint).await,
        }
    }

    /// What belongs to a new connection.
    fn adopt(
        &self,
        upstream: Upstream,
        endpoint: &Endpoint,
        balancer: Option<&Arc<Balancer>>,
    ) -> (HttpIo, Origin) {
        let Upstream { mut io, addr, tls, to_weft, local, .. } = upstream;
        let local = local.map(|local| {
            // The destination would have accepted it from its client.
            io.add_mirrored(local.authorization.open_counter(Peer::Src));
            Arc::new(self.local(&local.workload, addr))
        });
        let credential = match tls {
            Tls::Established(_) => self.workload.lease.current(),
            _ => None,
        };
        let target = Target { addr, tls, labels: Some(endpoint.labels.clone()) };
        let leg = Some(self.series(&target));
        let endpoint = balancer.map(|balancer| (balancer.clone(), endpoint.clone()));
        let origin = Origin { leg, local, credential, endpoint, target: Some(target), to_weft };
        (HttpIo::new(Bytes::new(), io), origin)
    }
}

/// HTTP could not begin to speak on a new connection.
fn broken(endpoint: &Endpoint, error: &dyn std::error::Error) -> ConnectError {
    let failure = std::io::Error::other(error.to_string()).into();
    ConnectError::Connect { to: endpoint.addr, failure }
}
