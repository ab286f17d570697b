//! Connects to one of a service's endpoints.

use tracing::debug;

use super::{ConnectError, ConnectRequest, Connector, Upstream, attempts::Attempts};
use crate::{
    balance::{Balancer, Picked},
    discovery::{Endpoint, ServiceEndpoints},
};

/// Endpoints that are tried for one connection when each refuses at once.
const MAX_ENDPOINTS: usize = 5;

/// What became of the endpoints of one address family.
struct Exhausted {
    error: ConnectError,
    /// The first endpoint that was tried.
    first: Option<Endpoint>,
}

impl Connector {
    /// Tries one endpoint after the other, first those of the address family that was dialled, then the others: an
    /// application that listens on IPv4 only would have refused IPv6 itself, and the client would have used IPv4.
    pub(super) async fn connect_service(
        &self,
        request: &ConnectRequest<'_>,
        authority: &str,
        endpoints: &ServiceEndpoints,
    ) -> Result<Upstream, ConnectError> {
        let exhausted = match self.connect_any(request, authority, &endpoints.same_family, None).await {
            Ok(upstream) => return Ok(upstream),
            Err(exhausted) if exhausted.error.is_unreachable() => exhausted,
            Err(exhausted) => return Err(exhausted.error),
        };
        if endpoints.other_family.is_empty() {
            return Err(exhausted.error);
        }
        debug!(source = %request.source.key, destination = authority, error = %exhausted.error, "trying the endpoints of the other address family");
        let pod = exhausted.first;
        let other = self.connect_any(request, authority, &endpoints.other_family, pod.as_ref()).await;
        // If nobody listens there either, the first family's error names the address that was dialled.
        other.map_err(|other| if other.error.is_unreachable() { exhausted.error } else { other.error })
    }

    /// Tries the endpoints of one family, the one of the same pod as `prefer` first.
    async fn connect_any(
        &self,
        request: &ConnectRequest<'_>,
        authority: &str,
        balancer: &Balancer,
        prefer: Option<&Endpoint>,
    ) -> Result<Upstream, Exhausted> {
        let mut attempts = Attempts::new();
        let mut tried = Vec::new();
        let mut first: Option<Endpoint> = None;
        let mut error = ConnectError::NoEndpoint(authority.to_owned());
        loop {
            let preferred = prefer.filter(|_| tried.is_empty()).and_then(|pod| balancer.pick_pod(pod));
            let Some(picked) = preferred.or_else(|| balancer.pick(&tried)) else {
                if tried.is_empty() || !attempts.may_retry(&error).await {
                    return Err(Exhausted { error, first });
                }
                tried.clear();
                continue;
            };
            let endpoint = picked.endpoint();
            let failed = match self.connect_while(request, endpoint, || balancer.has(endpoint)).await {
                Ok(upstream) => return Ok(established(upstream, picked)),
                Err(failed) => failed,
            };
            debug!(source = %request.source.key, destination = authority, endpoint = %endpoint.addr, error = %failed, "endpoint not reached");
            if failed.is_final() {
                return Err(Exhausted { error: failed, first });
            }
            if failed.is_endpoints_fault() {
                picked.failed();
            }
            first.get_or_insert_with(|| endpoint.clone());
            tried.push(endpoint.addr);
            error = failed;
            if tried.len() >= MAX_ENDPOINTS && !attempts.may_retry(&error).await {
                return Err(Exhausted { error, first });
            }
        }
    }
}

fn established(mut upstream: Upstream, picked: Picked) -> Upstream {
    picked.answered(upstream.latency);
    upstream.picked = Some(picked);
    upstream
}
