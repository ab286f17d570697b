//! Watches the endpoints of a service (`Get`).

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tonic::{Code, Status};
use weft_api::linkerd::destination::{Update, update};

use super::{WatchStream, pause};
use crate::{
    balance::Endpoint,
    control::describe,
    discovery::{
        Config, control::ControlPlane, destination::ServiceEndpoints, published::Published, translate,
    },
    net::Backoff,
};

/// The call, as logs and metrics name it.
pub(super) const GET: &str = "Get";

/// The watch of a service that a destination is.
pub(super) struct EndpointsWatch {
    pub(super) dst: SocketAddr,
    pub(super) authority: String,
    pub(super) service: ServiceEndpoints,
    pub(super) published: Arc<Published>,
    pub(super) control: Arc<ControlPlane>,
    pub(super) config: Arc<Config>,
}

impl EndpointsWatch {
    /// Returns only if the answer is final.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.config.min_backoff, self.config.max_backoff);
        let mut endpoints = Endpoints::default();
        loop {
            endpoints.outdated = true;
            let status = self.follow(&mut endpoints, &mut backoff).await;
            if self.stream_ended(&mut endpoints, &status) {
                return;
            }
            pause(&mut backoff, &self.published).await;
        }
    }

    /// Publishes what a stream reports, until it ends.
    async fn follow(&self, endpoints: &mut Endpoints, backoff: &mut Backoff) -> Status {
        let mut stream =
            WatchStream::open(self.config.lookup_timeout, self.control.get(self.authority.clone())).await;
        loop {
            let update = match stream.next().await {
                Ok(update) => update,
                Err(status) => return status,
            };
            self.control.answered();
            backoff.reset();
            if endpoints.apply(&self.authority, update) {
                self.publish(endpoints);
                self.published.healthy(GET);
            }
        }
    }

    /// Returns whether the answer is final.
    fn stream_ended(&self, endpoints: &mut Endpoints, status: &Status) -> bool {
        match status.code() {
            // The mesh does not resolve a service without endpoints of its own, for example an ExternalName.
            Code::InvalidArgument | Code::FailedPrecondition if !endpoints.known => {
                tracing::debug!(authority = self.authority, %status, "service is not resolved by the mesh");
                self.control.answered();
                self.published.is_no_service(&self.service);
                return true;
            }
            Code::NotFound => {
                self.control.answered();
                endpoints.by_addr.clear();
                self.publish(endpoints);
            }
            _ => {
                self.control.failed(GET, &self.authority, status);
                self.published.failing(GET, &describe(status));
            }
        }
        false
    }

    fn publish(&self, endpoints: &mut Endpoints) {
        endpoints.known = true;
        self.service.update(self.dst, endpoints.list());
        self.published.changed();
        self.published.filled(&self.service, endpoints.labels.clone());
    }
}

/// The endpoints that a stream has reported.
#[derive(Default)]
struct Endpoints {
    by_addr: BTreeMap<SocketAddr, Endpoint>,
    labels: Arc<BTreeMap<String, String>>,
    /// The control plane has answered.
    known: bool,
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
