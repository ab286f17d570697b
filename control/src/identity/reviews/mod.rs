//! Authenticates by tokens of Kubernetes service accounts, which the API server reviews.
//!
//! A node proxy's token belongs to the service account `weft-proxy` of the control plane's namespace, and is bound to a
//! live pod that the index knows on that node. Reviews are kept briefly, but the pod is looked up for every call: the
//! token of a pod that has ended is refused as soon as the index knows that.

mod api;
mod cache;
mod claims;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use kube::Client;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

pub(super) use self::cache::Timing;
use self::{
    api::{ReviewError, Subject, review},
    cache::{Cache, Known, TokenHash},
    claims::Claims,
};
use super::caller::{AuthenticationError, Caller};
use crate::{
    index::Index,
    mesh::{Mesh, PROXY_ACCOUNT},
    metrics::Metrics,
    model::Name,
};

/// The audience that a token must have, the same as Linkerd's.
pub(crate) const AUDIENCE: &str = "identity.l5d.io";

/// Reviews that wait for the API server at the same time.
const MAX_REVIEWS: usize = 16;
/// A call waits for its turn at most this long.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// After a failure the API server is left alone, for longer after each further one.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

const TIMING: Timing = Timing {
    fresh: Duration::from_secs(60),
    stale: Duration::from_secs(600),
    refused: Duration::from_secs(10),
};

/// Authenticates tokens of service accounts.
pub(crate) struct TokenReviews {
    client: Client,
    mesh: Arc<Mesh>,
    index: Arc<Index>,
    metrics: Metrics,
    timing: Timing,
    cache: Mutex<Cache>,
    permits: Semaphore,
    pause: Mutex<Pause>,
}

/// The pause after failures.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl TokenReviews {
    pub(crate) fn new(client: Client, mesh: Arc<Mesh>, index: Arc<Index>, metrics: Metrics) -> Self {
        Self::with_timing(client, mesh, index, metrics, TIMING)
    }

    pub(super) fn with_timing(
        client: Client,
        mesh: Arc<Mesh>,
        index: Arc<Index>,
        metrics: Metrics,
        timing: Timing,
    ) -> Self {
        let (cache, pause) = (Mutex::default(), Mutex::default());
        Self { client, mesh, index, metrics, timing, cache, permits: Semaphore::new(MAX_REVIEWS), pause }
    }

    pub(super) async fn authenticate(&self, token: &[u8]) -> Result<Caller, AuthenticationError> {
        let subject = self.subject(token).await?;
        self.caller(subject)
    }

    /// The token's service account and pod, from the cache or the API server.
    async fn subject(&self, token: &[u8]) -> Result<Subject, AuthenticationError> {
        let claims =
            Claims::read(token, AUDIENCE, SystemTime::now()).map_err(AuthenticationError::Invalid)?;
        let text = std::str::from_utf8(token)
            .map_err(|_| AuthenticationError::Invalid("it is no service account token".into()))?;
        let hash = TokenHash::of(token);
        let stale = match self.known(&hash) {
            Known::Accepted(subject) => return Ok(subject),
            Known::Refused(reason) => return Err(AuthenticationError::Invalid(reason)),
            Known::Stale(subject) => Some(subject),
            Known::Nothing => None,
        };
        match self.review(text, &hash).await {
            Ok(subject) => {
                let now = (Instant::now(), SystemTime::now());
                self.cache.lock().accept(hash, subject.clone(), claims.expires, &self.timing, now);
                Ok(subject)
            }
            Err(ReviewError::Refused(reason)) => {
                self.metrics.token_review("refused");
                self.cache.lock().refuse(hash, reason.clone(), Instant::now());
                Err(AuthenticationError::Invalid(reason))
            }
            Err(ReviewError::Unavailable(reason)) => match stale {
                Some(subject) => {
                    self.metrics.token_review("stale");
                    tracing::debug!(reason, "an earlier review of a token holds");
                    Ok(subject)
                }
                None => Err(AuthenticationError::Unavailable(reason)),
            },
        }
    }

    async fn review(&self, token: &str, hash: &TokenHash) -> Result<Subject, ReviewError> {
        if let Some(until) = self.pause.lock().until
            && Instant::now() < until
        {
            return Err(ReviewError::Unavailable("the API server did not answer a moment ago".into()));
        }
        let Ok(Ok(_permit)) = tokio::time::timeout(MAX_WAIT, self.permits.acquire()).await else {
            self.metrics.token_review("busy");
            return Err(ReviewError::Unavailable(format!("{MAX_REVIEWS} other reviews are waiting")));
        };
        // Another call may have had the same token reviewed meanwhile.
        if let Known::Accepted(subject) = self.known(hash) {
            return Ok(subject);
        }
        let result = review(&self.client, token, AUDIENCE).await;
        match &result {
            Ok(_) => self.metrics.token_review("accepted"),
            // Counted where it is known whether an earlier review holds.
            Err(ReviewError::Refused(_)) => {}
            Err(ReviewError::Unavailable(_)) => self.metrics.token_review("error"),
        }
        self.pause_after(&result);
        result
    }

    fn pause_after(&self, result: &Result<Subject, ReviewError>) {
        let mut pause = self.pause.lock();
        if let Err(ReviewError::Unavailable(reason)) = result {
            if pause.failures == 0 {
                tracing::warn!(
                    reason,
                    "tokens cannot be reviewed; earlier reviews hold for {:?}",
                    self.timing.stale
                );
            }
            let length = MIN_PAUSE.saturating_mul(1 << pause.failures.min(16)).min(MAX_PAUSE);
            pause.failures = pause.failures.saturating_add(1);
            pause.until = Some(Instant::now() + length.mul_f64(rand::random_range(0.5..=1.0)));
        } else {
            if pause.failures > 0 {
                tracing::info!("tokens are reviewed again");
            }
            *pause = Pause::default();
        }
    }

    fn known(&self, hash: &TokenHash) -> Known {
        self.cache.lock().get(hash, &self.timing, (Instant::now(), SystemTime::now()))
    }

    fn caller(&self, subject: Subject) -> Result<Caller, AuthenticationError> {
        let Subject { namespace, service_account, pod: bound } = subject;
        let is_proxy = namespace == self.mesh.control_plane_namespace && service_account == PROXY_ACCOUNT;
        let refused = |text: String| match is_proxy {
            true => Err(AuthenticationError::NotTheProxy(text)),
            false => Err(AuthenticationError::Invalid(text)),
        };
        let Some(bound) = bound else {
            return match is_proxy {
                true => refused("the token is not bound to a pod; mount a projected token".into()),
                false => Ok(Caller::Workload { namespace, service_account }),
            };
        };
        let cluster = self.index.snapshot();
        let name = Name { namespace: namespace.clone(), name: bound.name.clone() };
        let Some(pod) = cluster.pod(&name).filter(|pod| pod.uid == bound.uid) else {
            return refused(format!("the pod {name} with uid {} is not known, or it has ended", bound.uid));
        };
        if pod.service_account != service_account {
            return refused(format!("the pod {name} has the service account {}", pod.service_account));
        }
        if !is_proxy {
            return Ok(Caller::Workload { namespace, service_account });
        }
        match (&pod.node, &bound.node) {
            (None, _) => refused(format!("the pod {name} is on no node")),
            (Some(node), Some(claimed)) if node != claimed => {
                refused(format!("the pod {name} is on node {node}, but the token is bound to {claimed}"))
            }
            (Some(node), _) => Ok(Caller::NodeProxy { node: node.clone() }),
        }
    }
}

impl std::fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReviews").finish_non_exhaustive()
    }
}
