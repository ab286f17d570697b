//! Finds an endpoint for a request, and a connection to it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use http::{Request, header::EXPECT};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tracing::debug;

use super::{
    Http,
    client::Client,
    context::InboundContext,
    error::ProxyError,
    headers,
    origin::{Origin, Target},
    pool::Key,
    route::Route,
    server::HttpVersion,
};
use crate::{
    balance::{Balancer, Picked, Waiting},
    discovery::{Destination, Endpoint, ServiceEndpoints},
    metrics::{HttpLabels, HttpSeries, Tls, reason},
    net::{self, Direction},
    tap::{Call, Observation},
    upstream::{Attempts, ConnectError, Upstream},
    workload::Workload,
};

/// Endpoints that are tried for one request when each refuses at once, before it pauses.
const MAX_ENDPOINTS: usize = 5;

/// The workload that makes the requests on one connection.
pub(super) struct Source {
    pub(super) http: Arc<Http>,
    pub(super) workload: Arc<Workload>,
    pub(super) client: SocketAddr,
    pub(super) original: SocketAddr,
    /// A connection that was opened before the client sent anything. The first request uses it or has it closed.
    pub(super) early: Mutex<Option<Upstream>>,
}

/// What a connection is needed for.
#[derive(Clone, Copy)]
pub(super) struct Need {
    version: HttpVersion,
    /// An upgrade, or the permission to send a body (`Expect`): HTTP/2 has no way to carry these.
    http1_only: bool,
}

/// A connection to an endpoint.
pub(super) struct Reached {
    pub(super) client: Client,
    pub(super) picked: Option<Picked>,
    /// Its place in the pool.
    pub(super) key: Key,
}

impl Need {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let http1_only = headers::is_upgrade(request) || request.headers().contains_key(EXPECT);
        Self { version: HttpVersion::of(request.version()), http1_only }
    }

    /// What is spoken with this endpoint.
    pub(super) fn spoken_with(self, endpoint: &Endpoint) -> HttpVersion {
        match self.version {
            HttpVersion::Http1 if !self.http1_only && endpoint.wants_http1_in_http2() => HttpVersion::Http2,
            version => version,
        }
    }
}

impl Source {
    pub(super) fn new(
        http: &Arc<Http>,
        workload: Arc<Workload>,
        client: SocketAddr,
        original: SocketAddr,
        early: Option<Upstream>,
    ) -> Self {
        Self { http: http.clone(), workload, client, original, early: Mutex::new(early) }
    }

    /// The counters of requests that reach no endpoint.
    pub(super) fn leg(&self, route: &Route) -> Arc<HttpSeries> {
        self.series(&self.nowhere(route))
    }

    /// What requests that reach no endpoint were for.
    pub(super) fn nowhere(&self, route: &Route) -> Target {
        let labels = match &*route.destination {
            Destination::Service { labels, .. } => Some(labels.clone()),
            Destination::Endpoint(endpoint) => Some(endpoint.labels.clone()),
            Destination::External => None,
        };
        let tls = Tls::NoIdentity(reason::NOT_PROVIDED_BY_SERVICE_DISCOVERY);
        Target { addr: self.original, tls, labels }
    }

    /// A connection for one request. `tried` are the endpoints that have failed it already. `fresh`: an idle connection
    /// of HTTP/1 is not good enough.
    ///
    /// # Errors
    /// The last attempt's, after all that is worth trying was tried for the failfast timeout.
    pub(super) async fn reach(
        &self,
        route: &Route,
        need: Need,
        tried: &mut Vec<SocketAddr>,
        fresh: bool,
    ) -> Result<Reached, ProxyError> {
        match &*route.destination {
            Destination::Service { authority, endpoints, .. } => {
                self.reach_service(authority, endpoints, need, tried, fresh).await
            }
            Destination::Endpoint(endpoint) => {
                let key = self.key(endpoint);
                let client = match self.pooled(endpoint, need, &key, fresh) {
                    Some(client) => client,
                    None => self.open_pod(endpoint, need, &key).await?,
                };
                Ok(Reached { client, picked: None, key })
            }
            Destination::External => {
                Err(ProxyError::Connect(Box::new(ConnectError::NoEndpoint(self.original.to_string()))))
            }
        }
    }

    async fn reach_service(
        &self,
        authority: &str,
        endpoints: &ServiceEndpoints,
        need: Need,
        tried: &mut Vec<SocketAddr>,
        fresh: bool,
    ) -> Result<Reached, ProxyError> {
        let mut attempts = Attempts::new();
        let mut place: Option<Waiting<'_>> = None;
        let mut error: Option<ConnectError> = None;
        let mut waited_in_vain = false;
        if tried.len() >= endpoints.same_family.len() {
            // All have failed the request: one of them is better than none.
            tried.clear();
        }
        loop {
            let (same, other) = (&endpoints.same_family, &endpoints.other_family);
            let picked = same
                .pick_for_request(tried)
                .map(|picked| (picked, same))
                // As the client would do it itself, the other family comes second, if nobody listens on the first. An
                // address that just does not answer may do so a moment later.
                .or_else(|| {
                    let is_over = |error: &&ConnectError| !error.is_transient() || waited_in_vain;
                    error.as_ref().filter(|error| error.is_unreachable()).filter(is_over)?;
                    other.pick_for_request(tried).map(|picked| (picked, other))
                });
            let Some((picked, balancer)) = picked else {
                let last = error.unwrap_or_else(|| ConnectError::NoEndpoint(authority.to_owned()));
                self.queue(same, &mut place)?;
                if may_wait(same, &mut attempts).await {
                    tried.clear();
                } else if waited_in_vain || other.is_empty() {
                    return Err(ProxyError::FailFast(Box::new(last)));
                } else {
                    waited_in_vain = true;
                }
                error = Some(last);
                continue;
            };
            let endpoint = picked.endpoint().clone();
            let key = self.key(&endpoint);
            if let Some(client) = self.pooled(&endpoint, need, &key, fresh) {
                return Ok(Reached { client, picked: Some(picked), key });
            }
            // A burst of requests to a service that answers is not bounded here: it waits for its first connection.
            if error.is_some() || picked.had_failed() {
                self.queue(same, &mut place)?;
            }
            match self.open(&endpoint, Some(balancer), need, &key).await {
                Ok(client) => return Ok(Reached { client, picked: Some(picked), key }),
                Err(failed) if failed.is_final() => return Err(ProxyError::Connect(Box::new(failed))),
                Err(failed) => {
                    debug!(source = %self.workload.key, destination = authority, endpoint = %endpoint.addr, error = %failed, "endpoint not reached");
                    if failed.is_endpoints_fault() {
                        picked.failed();
                    }
                    tried.push(endpoint.addr);
                    error = Some(failed);
                }
            }
            if tried.len() >= MAX_ENDPOINTS && !may_wait(same, &mut attempts).await {
                let last = error.unwrap_or_else(|| ConnectError::NoEndpoint(authority.to_owned()));
                return Err(ProxyError::FailFast(Box::new(last)));
            }
        }
    }

    /// Takes a place among the requests that wait for a service.
    fn queue<'b>(&self, service: &'b Balancer, place: &mut Option<Waiting<'b>>) -> Result<(), ProxyError> {
        if place.is_none() {
            let most = self.workload.requests.max_waiting();
            *place = Some(service.counts().wait(most).ok_or(ProxyError::QueueFull)?);
        }
        Ok(())
    }

    /// Whether a connection was opened with the certificate of now, and is authorized by the workload that is served now.
    pub(super) fn valid(&self, endpoint: &Endpoint) -> impl Fn(&Origin) -> bool + use<> {
        let credential = self.workload.lease.current();
        let local = self.http.registry.at(endpoint.addr);
        move |origin| origin.is_of(credential.as_ref(), local.as_ref())
    }

    /// A connection of the pool.
    fn pooled(&self, endpoint: &Endpoint, need: Need, key: &Key, fresh: bool) -> Option<Client> {
        let (valid, pools) = (self.valid(endpoint), &self.http.pools);
        let pooled = match need.spoken_with(endpoint) {
            HttpVersion::Http1 if fresh => None,
            HttpVersion::Http1 => pools.take(key, valid).map(Client::Http1),
            HttpVersion::Http2 => pools.shared(key).get(valid).map(Client::Http2),
        };
        if pooled.is_some() {
            self.close_early();
        }
        pooled
    }

    /// The request has another connection. The early one would stay open, and count as load, for as long as the client's.
    fn close_early(&self) {
        if let Some(mut early) = self.early.lock().take() {
            net::end_orderly(early.io.tcp());
            tokio::spawn(async move { early.io.shutdown().await });
        }
    }

    /// A new connection to a pod that was dialled by its own address. While it does not answer, only a share of the
    /// requests waits for it.
    async fn open_pod(&self, endpoint: &Endpoint, need: Need, key: &Key) -> Result<Client, ProxyError> {
        let shared = self.http.pools.shared(key);
        let most = self.workload.requests.max_waiting();
        let _place = shared.failures.wait(most).ok_or(ProxyError::QueueFull)?;
        self.open(endpoint, None, need, key).await.map_err(|error| ProxyError::Connect(Box::new(error)))
    }

    /// The destination's side of requests to a workload of this node.
    pub(super) fn local(&self, workload: &Arc<Workload>, addr: SocketAddr) -> InboundContext {
        let ip = self.workload.address_like(addr.ip()).unwrap_or(self.client.ip());
        let client = SocketAddr::new(ip, self.client.port());
        InboundContext::new(&self.http, workload, addr, client, Tls::Local(self.workload.identity.clone()))
    }

    /// The workload of this node that denies connections to a route.
    pub(super) fn denied_by(&self, route: &Route) -> Option<InboundContext> {
        let endpoints = match &*route.destination {
            Destination::Service { endpoints, .. } => endpoints.same_family.endpoints(),
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::External => Vec::new(),
        };
        let addr = endpoints
            .iter()
            .map(|endpoint| endpoint.addr)
            .find(|addr| self.http.registry.at(*addr).is_some())?;
        Some(self.local(&self.http.registry.at(addr)?, addr))
    }

    /// Shows a request to `target` to the taps that are open.
    pub(super) fn tap<B>(
        &self,
        target: &Target,
        request: &Request<B>,
        started: Instant,
    ) -> Option<Observation> {
        let call = Call {
            direction: Direction::Outbound,
            workload: &self.workload,
            source: self.client,
            destination: target.addr,
            tls: &target.tls,
            labels: target.labels.as_deref(),
        };
        self.http.taps.see(&call, request, started)
    }

    pub(super) fn series(&self, target: &Target) -> Arc<HttpSeries> {
        self.http.metrics.http(&HttpLabels {
            direction: Direction::Outbound,
            workload: self.workload.labels.clone(),
            target: target.addr,
            tls: target.tls.clone(),
            server: None,
            destination: target.labels.clone(),
        })
    }

    fn key(&self, endpoint: &Endpoint) -> Key {
        Key::new(self.workload.netns.cookie(), endpoint.addr, endpoint.tls.as_ref())
    }
}

/// Waits for an endpoint, up to the failfast timeout. When a request has waited that long, the next ones do not.
async fn may_wait(balancer: &Balancer, attempts: &mut Attempts) -> bool {
    if balancer.is_failing_fast() {
        return false;
    }
    let goes_on = attempts.pause().await;
    if !goes_on {
        balancer.set_failing_fast(true);
    }
    goes_on
}
