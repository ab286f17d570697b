//! The last answer about a destination, as its watches publish it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified, watch};

use super::{
    Changes,
    destination::{Destination, ServiceEndpoints},
};
use crate::policy::DeclaredProtocol;

/// The first call about every destination.
pub(super) const GET_PROFILE: &str = "GetProfile";

/// The progress of the first lookup.
#[derive(Clone, Debug)]
pub(super) enum LookupState {
    /// This call has not been answered yet.
    Asking(&'static str),
    /// A call failed and is retried.
    Failing { since: Instant, call: &'static str, reason: Arc<str> },
}

/// The state that the watches publish.
#[derive(Debug)]
pub(super) struct Published {
    current: ArcSwapOption<Destination>,
    state: watch::Sender<LookupState>,
    service: Mutex<Option<Service>>,
    /// Notified when a connection waits for the answer: watches cut their backoff short.
    reconnect_now: Notify,
    dst: SocketAddr,
    changes: Arc<Changes>,
}

/// A service that is being watched.
#[derive(Debug)]
struct Service {
    authority: String,
    opaque: bool,
    endpoints: ServiceEndpoints,
    /// `None` until the first answer about its endpoints.
    labels: Option<Arc<BTreeMap<String, String>>>,
    /// `None` until the first answer about its protocol, or until there is none.
    declared: Option<DeclaredProtocol>,
}

impl Published {
    pub(super) fn new(dst: SocketAddr, changes: Arc<Changes>) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            state: watch::Sender::new(LookupState::Asking(GET_PROFILE)),
            service: Mutex::new(None),
            reconnect_now: Notify::new(),
            dst,
            changes,
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Destination>> {
        self.current.load_full()
    }

    pub(super) fn state(&self) -> watch::Receiver<LookupState> {
        self.state.subscribe()
    }

    /// A connection waits for the answer: watches cut their backoff short.
    pub(super) fn reconnect_now(&self) {
        self.reconnect_now.notify_waiters();
    }

    /// Completes when a connection starts to wait for the answer.
    pub(super) fn reconnect_requested(&self) -> Notified<'_> {
        self.reconnect_now.notified()
    }

    pub(super) fn has_answer(&self) -> bool {
        self.current.load().is_some()
    }

    /// Records that the watch of `call` ended with an error.
    pub(super) fn failing(&self, call: &'static str, reason: &str) {
        self.state.send_modify(|state| {
            let since = match state {
                LookupState::Failing { since, .. } => *since,
                _ => Instant::now(),
            };
            *state = LookupState::Failing { since, call, reason: reason.into() };
        });
    }

    /// Records that a watch works; a complete answer also needs `next_call`.
    pub(super) fn healthy(&self, next_call: &'static str) {
        self.state.send_replace(LookupState::Asking(next_call));
    }

    /// Publishes a destination that is not a service.
    pub(super) fn answer(&self, destination: Destination) {
        let mut service = self.service.lock();
        *service = None;
        self.publish(destination);
    }

    /// Records that the destination is a service. If the service is new, returns the endpoints to fill; it is published
    /// once they are filled, and there is an answer about its protocol.
    pub(super) fn is_service(&self, authority: &str, opaque: bool) -> Option<ServiceEndpoints> {
        let mut service = self.service.lock();
        if let Some(known) = service.as_mut().filter(|known| known.authority == authority) {
            if known.opaque != opaque {
                known.opaque = opaque;
                self.publish_service(known);
            }
            return None;
        }
        let endpoints = ServiceEndpoints::default();
        // Until its endpoints are known, the last answer stays.
        *service = Some(Service {
            authority: authority.to_owned(),
            opaque,
            endpoints: endpoints.clone(),
            labels: None,
            declared: None,
        });
        Some(endpoints)
    }

    /// Publishes the service whose endpoints have been filled.
    pub(super) fn filled(&self, endpoints: &ServiceEndpoints, labels: Arc<BTreeMap<String, String>>) {
        let mut service = self.service.lock();
        // The destination may have changed meanwhile.
        let Some(known) = service.as_mut().filter(|known| known.endpoints.is(endpoints)) else {
            return;
        };
        if known.labels.as_ref() != Some(&labels) {
            known.labels = Some(labels);
            self.publish_service(known);
        }
    }

    /// Publishes what the service of these endpoints declares about its protocol. `None`: there is no answer, and what was
    /// known stays.
    pub(super) fn declares(&self, endpoints: &ServiceEndpoints, protocol: Option<DeclaredProtocol>) {
        let mut service = self.service.lock();
        let Some(known) = service.as_mut().filter(|known| known.endpoints.is(endpoints)) else {
            return;
        };
        let now = protocol.or(known.declared).unwrap_or_default();
        if known.declared.replace(now) != Some(now) {
            self.publish_service(known);
        }
    }

    /// Publishes that the mesh does not resolve the service of these endpoints.
    pub(super) fn is_no_service(&self, endpoints: &ServiceEndpoints) {
        let mut service = self.service.lock();
        if service.as_ref().is_some_and(|known| known.endpoints.is(endpoints)) {
            *service = None;
            self.publish(Destination::External);
        }
    }

    fn publish_service(&self, service: &Service) {
        if let (Some(labels), Some(declared)) = (&service.labels, service.declared) {
            self.publish(Destination::Service {
                authority: service.authority.clone(),
                endpoints: service.endpoints.clone(),
                labels: labels.clone(),
                opaque: service.opaque,
                declared,
            });
        }
    }

    fn publish(&self, destination: Destination) {
        self.current.store(Some(Arc::new(destination)));
        self.changed();
        self.healthy(GET_PROFILE);
    }

    /// Notifies that the destination has changed.
    pub(super) fn changed(&self) {
        self.changes.notify(self.dst);
    }

    pub(super) fn is_failing(&self) -> bool {
        matches!(&*self.state.borrow(), LookupState::Failing { .. })
    }
}
