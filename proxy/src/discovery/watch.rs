//! How is a destination followed through answers, errors and restarts of the control plane?

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use rand::Rng;
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};
use weft_api::linkerd::destination::{Update, update};

use super::{
    Config,
    away::ControlPlane,
    destination::Destination,
    entry::Shared,
    translate::{self, Profile},
};
use crate::balance::{Balancer, Endpoint};

pub(super) const GET_PROFILE: &str = "GetProfile";
pub(super) const GET: &str = "Get";

/// Follows what the destination is; never ends, unless the answer is final.
pub(super) async fn watch_profile(
    dst: SocketAddr,
    shared: Arc<Shared>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    let path = dst.to_string();
    let mut backoff = Backoff::new(&config);
    // The endpoints' watch while the destination is a service.
    let mut endpoints = JoinSet::new();
    loop {
        let mut stream = Watch::new(&config, control.get_profile(path.clone())).await;
        let status = loop {
            let message = match stream.next().await {
                Ok(message) => message,
                Err(status) => break status,
            };
            control.answered();
            backoff.reset();
            match translate::profile(message, dst.port()) {
                Ok(Profile::Service { authority, opaque }) => {
                    if let Some(balancer) = shared.is_service(&authority, opaque) {
                        let watch = watch_endpoints(
                            dst,
                            authority,
                            balancer,
                            shared.clone(),
                            control.clone(),
                            config.clone(),
                        );
                        endpoints = JoinSet::new();
                        endpoints.spawn(watch);
                    }
                    shared.well(GET);
                }
                Ok(Profile::Endpoint(endpoint)) => {
                    endpoints.abort_all();
                    shared.answer(Destination::Endpoint(endpoint));
                }
                Ok(Profile::Unknown) => {
                    endpoints.abort_all();
                    shared.answer(Destination::External);
                }
                Err(error) => {
                    tracing::warn!(%dst, %error, "control plane names an endpoint that is of no use");
                    shared.failing(GET_PROFILE, &format!("an endpoint that is of no use: {error}"));
                }
            }
        };
        match status.code() {
            // There is nothing to know about such an address, now or later.
            Code::InvalidArgument | Code::FailedPrecondition if !shared.has_answer() => {
                tracing::debug!(%dst, %status, "not a destination of the mesh");
                control.answered();
                shared.answer(Destination::External);
                return;
            }
            Code::NotFound => {
                endpoints.abort_all();
                control.answered();
                shared.answer(Destination::External);
            }
            _ => {
                control.failed(GET_PROFILE, &path, &status);
                shared.failing(GET_PROFILE, &describe(&status));
            }
        }
        backoff.pause(&shared).await;
    }
}

/// Follows the endpoints of a service.
async fn watch_endpoints(
    dst: SocketAddr,
    authority: String,
    balancer: Arc<Balancer>,
    shared: Arc<Shared>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    let mut backoff = Backoff::new(&config);
    let mut endpoints = Endpoints::default();
    let mut answered = false;
    loop {
        endpoints.outdated = true;
        let mut stream = Watch::new(&config, control.get(authority.clone())).await;
        let status = loop {
            let update = match stream.next().await {
                Ok(update) => update,
                Err(status) => break status,
            };
            control.answered();
            backoff.reset();
            if endpoints.apply(&authority, update) {
                answered = true;
                balancer.update(endpoints.list(dst));
                shared.changed();
                shared.filled(&balancer, endpoints.labels.clone());
                shared.well(GET);
            }
        };
        match status.code() {
            // A service without endpoints of its own (an ExternalName, say) is none of the mesh's business.
            Code::InvalidArgument | Code::FailedPrecondition if !answered => {
                tracing::debug!(authority, %status, "service is not resolved by the mesh");
                control.answered();
                shared.is_no_service(&balancer);
                return;
            }
            Code::NotFound => {
                answered = true;
                control.answered();
                endpoints.by_addr.clear();
                balancer.update(Vec::new());
                shared.changed();
                shared.filled(&balancer, endpoints.labels.clone());
            }
            _ => {
                control.failed(GET, &authority, &status);
                shared.failing(GET, &describe(&status));
            }
        }
        backoff.pause(&shared).await;
    }
}

/// The endpoints that a stream has told of.
#[derive(Default)]
struct Endpoints {
    by_addr: BTreeMap<SocketAddr, Endpoint>,
    labels: Arc<BTreeMap<String, String>>,
    /// They are an earlier stream's: they hold until the new one's first message, which replaces them.
    outdated: bool,
}

impl Endpoints {
    /// False if the message says nothing.
    fn apply(&mut self, authority: &str, message: Update) -> bool {
        let Some(update) = message.update else { return false };
        if std::mem::take(&mut self.outdated) {
            self.by_addr.clear();
        }
        match update {
            update::Update::Add(set) => {
                self.labels = Arc::new(translate::labels(&set.metric_labels));
                for addr in set.addrs {
                    let place = addr.addr.and_then(|addr| translate::address(addr).ok());
                    match translate::endpoint(addr, &set.metric_labels) {
                        Ok(endpoint) => {
                            self.by_addr.insert(endpoint.addr, endpoint);
                        }
                        Err(error) => {
                            tracing::warn!(authority, ?place, %error, "endpoint is of no use, left out");
                            // What was known of it holds no longer.
                            place.map(|place| self.by_addr.remove(&place));
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

    /// Those of the address family that was dialled, as a cluster IP of that family has; all, if none is.
    fn list(&self, dst: SocketAddr) -> Vec<Endpoint> {
        let same = |endpoint: &&Endpoint| endpoint.addr.is_ipv6() == dst.is_ipv6();
        let of_family: Vec<_> = self.by_addr.values().filter(same).cloned().collect();
        if of_family.is_empty() { self.by_addr.values().cloned().collect() } else { of_family }
    }
}

/// A stream whose first message must come in time; later ones may take as long as they like.
struct Watch<T> {
    stream: Result<Streaming<T>, Status>,
    first: Option<Duration>,
}

impl<T> Watch<T> {
    async fn new(config: &Config, call: impl Future<Output = Result<Streaming<T>, Status>>) -> Self {
        let stream = match tokio::time::timeout(config.lookup_timeout, call).await {
            Ok(stream) => stream,
            Err(_) => Err(Status::deadline_exceeded("the call was not answered in time")),
        };
        Self { stream, first: Some(config.lookup_timeout) }
    }

    async fn next(&mut self) -> Result<T, Status> {
        let stream = self.stream.as_mut().map_err(|status| status.clone())?;
        let message = match self.first.take() {
            None => stream.message().await,
            Some(patience) => tokio::time::timeout(patience, stream.message())
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no message in time"))),
        };
        message?.ok_or_else(|| Status::unavailable("the control plane ended the stream"))
    }
}

/// Ever longer pauses, spread so that watches which ended together do not return together.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(config: &Config) -> Self {
        Self { min: config.min_backoff, max: config.max_backoff, next: config.min_backoff }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    /// A connection that waits for the first answer cuts the pause short, though not below the least one.
    async fn pause(&mut self, shared: &Shared) {
        let pause = self.next.mul_f64(rand::rng().random_range(0.5..1.5));
        self.next = (self.next * 2).min(self.max);
        let least = pause.min(self.min);
        let mut hurried = std::pin::pin!(shared.hurried());
        // From now on, not from when it is waited for.
        hurried.as_mut().enable();
        tokio::time::sleep(least).await;
        tokio::select! {
            () = tokio::time::sleep(pause - least) => {}
            () = hurried, if !shared.has_answer() => {}
        }
    }
}

/// A status in a few words, as it is told to those who wait.
fn describe(status: &Status) -> String {
    let mut text = format!("{:?}", status.code());
    if !status.message().is_empty() {
        text.push_str(": ");
        text.push_str(status.message());
    }
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
