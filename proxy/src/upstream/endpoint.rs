//! Connects to one endpoint, while it is what discovery says it is.

use std::{net::SocketAddr, time::Duration};

use super::{ConnectError, ConnectRequest, Connector, Upstream};
use crate::{
    balance::Balancer,
    discovery::{Destination, Endpoint},
};

/// How often to check whether an endpoint that is being tried is still what it was.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

impl Connector {
    /// Connects to one endpoint of a service; gives up when it leaves the service.
    ///
    /// # Errors
    /// The attempt's.
    pub async fn connect_one(
        &self,
        request: &ConnectRequest<'_>,
        balancer: &Balancer,
        endpoint: &Endpoint,
    ) -> Result<Upstream, ConnectError> {
        self.connect_while(request, endpoint, || balancer.has(endpoint)).await
    }

    /// Connects to a pod that was dialled by its own address; if nobody listens there, to its other address.
    ///
    /// # Errors
    /// The first attempt's.
    pub async fn connect_pod(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
    ) -> Result<Upstream, ConnectError> {
        let is_current = || match self.discovery.known(request.original).as_deref() {
            Some(Destination::Endpoint(now)) => now.is_reached_like(endpoint),
            Some(_) => false,
            None => true,
        };
        let error = match self.connect_while(request, endpoint, is_current).await {
            Err(error) if error.is_unreachable() && !error.is_transient() => error,
            result => return result,
        };
        let Some(other) = self.other_address(endpoint) else { return Err(error) };
        let endpoint = Endpoint { addr: other, ..endpoint.clone() };
        let result = self.connect_endpoint(request, &endpoint).await;
        // If nobody listens there either, the error should name the address that was dialled.
        result.map_err(|other| if other.is_unreachable() { error } else { other })
    }

    /// The address of the other family of a pod on this node.
    fn other_address(&self, endpoint: &Endpoint) -> Option<SocketAddr> {
        let workload = self.registry.at(endpoint.addr)?;
        let ip = workload.ips.iter().find(|ip| ip.is_ipv6() != endpoint.addr.is_ipv6())?;
        Some(SocketAddr::new(*ip, endpoint.addr.port()))
    }

    /// [`Self::connect_endpoint`], given up as soon as the endpoint is to be reached in another way or not at all: one
    /// whose proxy has died may keep a handshake waiting for ever.
    pub(super) async fn connect_while(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
        is_current: impl Fn() -> bool,
    ) -> Result<Upstream, ConnectError> {
        let outdated = async {
            while is_current() {
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            upstream = self.connect_endpoint(request, endpoint) => upstream,
            () = outdated => Err(ConnectError::Outdated(endpoint.addr)),
        }
    }

    /// On this node without TLS, to another node by mTLS, or to an endpoint outside the mesh in plaintext.
    async fn connect_endpoint(
        &self,
        request: &ConnectRequest<'_>,
        endpoint: &Endpoint,
    ) -> Result<Upstream, ConnectError> {
        let own_ports = &request.source.config().splice;
        let splice = request.may_splice && self.splicing.allows(own_ports, request.original, endpoint.addr);
        if let Some(workload) = self.registry.at(endpoint.addr)
            && endpoint.tls.as_ref().is_some_and(|tls| tls.identity == workload.identity)
            && !workload.skips_inbound(endpoint.addr.port())
        {
            return self.connect_local(request, endpoint, workload, splice).await;
        }
        match &endpoint.tls {
            Some(tls) => {
                let upstream = self.connect_mtls(request, endpoint, tls).await?;
                Ok(Upstream { splice, ..upstream })
            }
            None => self.plain(request, endpoint.addr, Some(endpoint)).await,
        }
    }
}
