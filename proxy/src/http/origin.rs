//! What a connection to an application or an endpoint belongs to, and how a request on it can fail.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use http::Request;
use hyper::client::conn::TrySendError;

use super::{body::RequestBody, broken::Broken, context::InboundContext};
use crate::{
    balance::{Balancer, Endpoint},
    metrics::{HttpSeries, Tls},
    tls::Credential,
    workload::Workload,
};

/// What belongs to a connection.
pub(super) struct Origin {
    /// The counters of requests to the endpoint; `None` on the way to an application.
    pub(super) leg: Option<Arc<HttpSeries>>,
    /// The application's side of the request, if it is on this node.
    pub(super) local: Option<Arc<InboundContext>>,
    /// The certificate with which it was opened.
    pub(super) credential: Option<Arc<Credential>>,
    /// The endpoint, and the service for which it was opened.
    pub(super) endpoint: Option<(Arc<Balancer>, Endpoint)>,
    /// Where it leads; `None` on the way to an application.
    pub(super) target: Option<Target>,
    /// The other side is a weft proxy.
    pub(super) to_weft: bool,
}

/// The other end of a connection to an endpoint.
pub(super) struct Target {
    pub(super) addr: SocketAddr,
    pub(super) tls: Tls,
    /// Metric labels, `dst_*`.
    pub(super) labels: Option<Arc<BTreeMap<String, String>>>,
}

/// A request was not answered.
pub(super) struct SendError {
    pub(super) error: Broken,
    /// The request, if it has certainly not been sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// The connection had carried requests before.
    pub(super) reused: bool,
    /// The other side has most likely closed the connection while it was idle.
    pub(super) idle_closed: bool,
}

impl Origin {
    /// Of a connection from the proxy to an application on this node.
    pub(super) fn application() -> Self {
        Self { leg: None, local: None, credential: None, endpoint: None, target: None, to_weft: false }
    }

    /// Whether it was opened with this certificate, if it needs one, and leads to this workload, if that is on this node.
    pub(super) fn is_of(&self, credential: Option<&Arc<Credential>>, local: Option<&Arc<Workload>>) -> bool {
        let same_credential = self
            .credential
            .as_ref()
            .is_none_or(|opened_with| credential.is_some_and(|now| Arc::ptr_eq(opened_with, now)));
        let same_workload = self
            .local
            .as_ref()
            .is_none_or(|context| local.is_some_and(|now| Arc::ptr_eq(&context.workload, now)));
        same_credential && same_workload
    }

    /// Whether its endpoint has left the service, or is to be reached in another way.
    pub(super) fn has_left(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|(balancer, endpoint)| !balancer.has(endpoint))
    }
}

impl SendError {
    pub(super) fn of_http1(
        mut error: TrySendError<Request<RequestBody>>,
        reused: bool,
        idle_closed: bool,
    ) -> Self {
        let unsent = error.take_message();
        let error = Broken::from(error.into_error());
        let idle_closed = idle_closed && error.is_closed();
        Self { error, unsent, reused, idle_closed }
    }

    /// Whether the other side has ended a connection in order that had served before.
    fn is_orderly(&self) -> bool {
        self.reused && (self.unsent.is_some() || self.error.is_graceful())
    }

    /// Whether the request has certainly not been processed.
    pub(super) fn is_unprocessed(&self) -> bool {
        self.unsent.is_some() || self.error.is_refusal()
    }

    /// Whether the other side does not take requests at this moment.
    pub(super) fn is_to_pause(&self) -> bool {
        (self.unsent.is_some() || self.error.is_refusal()) && !self.is_orderly()
    }

    /// Whether this speaks against the endpoint: others are better.
    pub(super) fn is_endpoints_fault(&self) -> bool {
        !self.idle_closed && !self.is_orderly() && self.error.is_by_peer()
    }
}
