//! Watches a destination at the control plane, across errors and restarts.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};
use weft_api::linkerd::destination::{Update, update};

use super::{
    Config,
    control::ControlPlane,
    destination::{Destination, ServiceEndpoints},
    published::{GET_PROFILE, Published},
    translate::{self, Profile},
};
use crate::{balance::Endpoint, control::describe, net::Backoff, policy::DeclaredProtocol};

pub(super) const GET: &str = "Get";
const WATCH_POLICY: &str = "OutboundPolicies.Watch";
/// When to ask again a control plane that does not know a call: it may have been replaced by a newer one.
const UNKNOWN_CALL_PAUSE: Duration = Duration::from_secs(60);

/// Watches what the destination is. Returns only if the answer is final.
pub(super) async fn watch_profile(
    dst: SocketAddr,
    published: Arc<Published>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    let path = dst.to_string();
    let mut backoff = Backoff::new(config.min_backoff, config.max_backoff);
    // The watches of its endpoints and of its protocol while the destination is a service.
    let mut of_service = JoinSet::new();
    loop {
        let mut stream = Watch::new(config.lookup_timeout, control.get_profile(path.clone())).await;
        let status = loop {
            let message = match stream.next().await {
                Ok(message) => message,
                Err(status) => break status,
            };
            control.answered();
            backoff.reset();
            match translate::profile(message, dst.port()) {
                Ok(Profile::Service { authority, opaque }) => {
                    if let Some(endpoints_of) = published.is_service(&authority, opaque) {
                        of_service = JoinSet::new();
                        of_service.spawn(watch_protocol(
                            dst,
                            endpoints_of.clone(),
                            published.clone(),
                            control.clone(),
                            config.clone(),
                        ));
                        of_service.spawn(watch_endpoints(
                            dst,
                            authority,
                            endpoints_of,
                            published.clone(),
                            control.clone(),
                            config.clone(),
                        ));
                    }
                    published.healthy(GET);
                }
                Ok(Profile::Endpoint(endpoint)) => {
                    of_service.abort_all();
                    published.answer(Destination::Endpoint(endpoint));
                }
                Ok(Profile::Unknown) => {
                    of_service.abort_all();
                    published.answer(Destination::External);
                }
                Err(error) => {
                    tracing::warn!(%dst, %error, "invalid endpoint from the control plane");
                    published.failing(GET_PROFILE, &format!("invalid endpoint: {error}"));
                }
            }
        };
        match status.code() {
            // The mesh will never resolve such an address.
            Code::InvalidArgument | Code::FailedPrecondition if !published.has_answer() => {
                tracing::debug!(%dst, %status, "not a destination of the mesh");
                control.answered();
                published.answer(Destination::External);
                return;
            }
            Code::NotFound => {
                of_service.abort_all();
                control.answered();
                published.answer(Destination::External);
            }
            _ => {
                control.failed(GET_PROFILE, &path, &status);
                published.failing(GET_PROFILE, &describe(&status));
            }
        }
        pause(&mut backoff, &published).await;
    }
}

/// Watches the endpoints of a service.
async fn watch_endpoints(
    dst: SocketAddr,
    authority: String,
    service: ServiceEndpoints,
    published: Arc<Published>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    let mut backoff = Backoff::new(config.min_backoff, config.max_backoff);
    let mut endpoints = Endpoints::default();
    let mut answered = false;
    loop {
        endpoints.outdated = true;
        let mut stream = Watch::new(config.lookup_timeout, control.get(authority.clone())).await;
        let status = loop {
            let update = match stream.next().await {
                Ok(update) => update,
                Err(status) => break status,
            };
            control.answered();
            backoff.reset();
            if endpoints.apply(&authority, update) {
                answered = true;
                service.update(dst, endpoints.list());
                published.changed();
                published.filled(&service, endpoints.labels.clone());
                published.healthy(GET);
            }
        };
        match status.code() {
            // The mesh does not resolve a service without endpoints of its own, for example an ExternalName.
            Code::InvalidArgument | Code::FailedPrecondition if !answered => {
                tracing::debug!(authority, %status, "service is not resolved by the mesh");
                control.answered();
                published.is_no_service(&service);
                return;
            }
            Code::NotFound => {
                answered = true;
                control.answered();
                endpoints.by_addr.clear();
                service.update(dst, Vec::new());
                published.changed();
                published.filled(&service, endpoints.labels.clone());
            }
            _ => {
                control.failed(GET, &authority, &status);
                published.failing(GET, &describe(&status));
            }
        }
        pause(&mut backoff, &published).await;
    }
}

/// Watches what a service declares about its protocol. Connections do not wait long for that, and never depend on it:
/// without an answer, the protocol is detected.
async fn watch_protocol(
    dst: SocketAddr,
    service: ServiceEndpoints,
    published: Arc<Published>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    // The call and its first message, both within the time of the lookup.
    let timeout = config.lookup_timeout / 3;
    let mut backoff = Backoff::new(config.min_backoff, config.max_backoff);
    loop {
        let mut stream = Watch::new(timeout, control.watch_policy(dst)).await;
        let status = loop {
            match stream.next().await {
                Ok(policy) => {
                    control.answered();
                    backoff.reset();
                    published.declares(&service, Some(translate::declared(policy)));
                }
                Err(status) => break status,
            }
        };
        match status.code() {
            Code::Unimplemented => {
                tracing::debug!(%dst, %status, "the control plane knows no declared protocols");
                published.declares(&service, Some(DeclaredProtocol::Detect));
                tokio::time::sleep(UNKNOWN_CALL_PAUSE).await;
                continue;
            }
            // The service has just gone, or is another one now: its profile will say so.
            Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition => {
                published.declares(&service, Some(DeclaredProtocol::Detect));
            }
            _ => {
                control.failed(WATCH_POLICY, &dst.to_string(), &status);
                published.declares(&service, None);
            }
        }
        pause(&mut backoff, &published).await;
    }
}

/// The endpoints that a stream has reported.
#[derive(Default)]
struct Endpoints {
    by_addr: BTreeMap<SocketAddr, Endpoint>,
    labels: Arc<BTreeMap<String, String>>,
    /// They are from an earlier stream. The first message of the new stream replaces them.
    outdated: bool,
}

impl Endpoints {
    /// Applies an update; false if the message is empty.
    fn apply(&mut self, authority: &str, message: Update) -> bool {
        let Some(update) = message.update else { return false };
        if std::mem::take(&mut self.outdated) {
            self.by_addr.clear();
        }
        match update {
            update::Update::Add(set) => {
                self.labels = Arc::new(translate::labels(&set.metric_labels));
                for addr in set.addrs {
                    let known = addr.addr.and_then(|addr| translate::address(addr).ok());
                    match translate::endpoint(addr, &set.metric_labels) {
                        Ok(endpoint) => {
                            self.by_addr.insert(endpoint.addr, endpoint);
                        }
                        Err(error) => {
                            tracing::warn!(authority, place = ?known, %error, "invalid endpoint ignored");
                            // Its earlier state is outdated.
                            known.map(|addr| self.by_addr.remove(&addr));
                        }
                    }
                }
            }
            update::Update::Remove(set) => {
                for addr in set.addrs.into_iter().filter_map(|addr| translate::address(addr).ok()) {
                    self.by_addr.remove(&addr);
                }
            }
            update::Update::NoEndpoints(_) => self.by_addr.clear(),
        }
        true
    }

    fn list(&self) -> Vec<Endpoint> {
        self.by_addr.values().cloned().collect()
    }
}

/// A stream whose first message must arrive in time. Later messages have no time limit.
struct Watch<T> {
    stream: Result<Streaming<T>, Status>,
    first: Option<Duration>,
}

impl<T> Watch<T> {
    async fn new(limit: Duration, call: impl Future<Output = Result<Streaming<T>, Status>>) -> Self {
        let stream = match tokio::time::timeout(limit, call).await {
            Ok(stream) => stream,
            Err(_) => Err(Status::deadline_exceeded("the call was not answered in time")),
        };
        Self { stream, first: Some(limit) }
    }

    async fn next(&mut self) -> Result<T, Status> {
        let stream = self.stream.as_mut().map_err(|status| status.clone())?;
        let message = match self.first.take() {
            None => stream.message().await,
            Some(limit) => tokio::time::timeout(limit, stream.message())
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no message in time"))),
        };
        message?.ok_or_else(|| Status::unavailable("the control plane ended the stream"))
    }
}

/// Pauses before the next call. A connection that waits for the first answer cuts the pause short, but not below the
/// minimum.
async fn pause(backoff: &mut Backoff, published: &Published) {
    let pause = backoff.next_pause();
    let min_pause = pause.min(backoff.min());
    let mut requested = std::pin::pin!(published.reconnect_requested());
    // Takes notifications from now on, not only after the first poll.
    requested.as_mut().enable();
    tokio::time::sleep(min_pause).await;
    tokio::select! {
        () = tokio::time::sleep(pause - min_pause) => {}
        () = requested, if !published.has_answer() => {}
    }
}
