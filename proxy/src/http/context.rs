//! The client of a workload: authorizes its requests, marks them with its identity, and counts them.
//!
//! Requests from other nodes and from this one take these steps alike.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{
    Http,
    access_log::Entry,
    body::{Hold, Release, RequestBody, ResponseBody, watch},
    connection::Connection,
    error::ProxyError,
    headers,
    io::HttpIo,
    record,
    tapped::Tapped,
    worst::Table,
};
use crate::{
    authorize::RequestAuthorization,
    limits::RequestPermit,
    metrics::{
        Application, ConnectionRecord, HttpLabels, HttpSeries, Metered, Parent, RouteLabels, RouteSeries,
        ServerLabels, Tls,
    },
    net::{AppStream, Direction, Peer},
    tap::{Call, Observation},
    tls::Identity,
    upstream::connect_application,
    workload::Workload,
};

/// One client of one workload: what all requests on a connection have in common.
pub(super) struct InboundContext {
    http: Arc<Http>,
    pub(super) workload: Arc<Workload>,
    pub(super) target: SocketAddr,
    pub(super) client: SocketAddr,
    pub(super) tls: Tls,
    /// The value of `l5d-client-id`.
    client_id: Option<HeaderValue>,
    policy: Mutex<Policy>,
    worst: Table,
}

/// The policy, and the series of the requests that it decides.
struct Policy {
    authorization: RequestAuthorization,
    series: Option<PolicySeries>,
}

/// The series of requests that one policy decides. A policy that changes has others.
struct PolicySeries {
    server: Arc<ServerLabels>,
    leg: Arc<HttpSeries>,
    /// For HTTP and gRPC, and the same for health checks.
    routes: [Option<Arc<RouteSeries>>; 4],
}

/// A request that was let in.
pub(super) struct Admitted {
    request: record::Request,
    permit: RequestPermit,
}

impl InboundContext {
    pub(super) fn new(
        http: &Arc<Http>,
        workload: &Arc<Workload>,
        target: SocketAddr,
        client: SocketAddr,
        tls: Tls,
    ) -> Self {
        let authorization = http.authorizer.authorize_requests(workload, target, client, tls.clone());
        Self {
            http: http.clone(),
            workload: workload.clone(),
            target,
            client,
            client_id: tls.identity().and_then(header_value),
            tls,
            policy: Mutex::new(Policy { authorization, series: None }),
            worst: Table::new(&http.worst, workload),
        }
    }

    /// Authorizes a request and counts it. Headers that only proxies may set are replaced.
    ///
    /// # Errors
    /// Policy denies it, or there are too many.
    pub(super) fn admit<B>(
        &self,
        request: &mut Request<B>,
        started: Instant,
    ) -> Result<Admitted, ProxyError> {
        let grpc = headers::is_grpc(request.headers());
        let (verdict, leg, route) = {
            let mut policy = self.policy.lock();
            let verdict = policy.authorization.check(request);
            let (leg, route) = self.series(&mut policy, grpc, verdict.is_probe);
            (verdict, leg, route)
        };
        let mut counted = record::Request::begin(leg, route, grpc, started);
        counted.observers.push(Box::new(self.worst.see(request)));
        Tapped::observe(self.tap(request, started), &mut counted);
        if let Some(format) = verdict.settings.access_log {
            counted.observers.push(Box::new(Entry::new(
                format,
                request,
                &self.workload,
                self.client,
                self.tls.identity(),
            )));
        }
        let head = headers::size(request);
        let permit = verdict.result.map_err(ProxyError::Denied).and_then(|()| {
            self.workload.requests.acquire(Direction::Inbound, head).ok_or(ProxyError::LoadShed)
        });
        match permit {
            Ok(permit) => {
                if verdict.settings.interprets {
                    headers::strip_linkerd(request.headers_mut());
                    if let Some(identity) = &self.client_id {
                        request.headers_mut().insert(headers::CLIENT_ID, identity.clone());
                    }
                }
                Ok(Admitted { request: counted, permit })
            }
            Err(error) => {
                counted.failed(error.recorded());
                Err(error)
            }
        }
    }

    /// Shows a request to the taps that are open.
    fn tap<B>(&self, request: &Request<B>, started: Instant) -> Option<Observation> {
        let call = Call {
            direction: Direction::Inbound,
            workload: &self.workload,
            source: self.client,
            destination: self.target,
            tls: &self.tls,
            labels: None,
        };
        self.http.taps.see(&call, request, started)
    }

    /// Counts and logs an answer of the proxy's own.
    pub(super) fn log_error(&self, error: &ProxyError) {
        self.http.log_error(Direction::Inbound, &self.workload, self.target, error);
    }

    /// Resolves when the policy denies this client; for what goes on after a request.
    pub(super) async fn revoked(&self) {
        let (workload, client) = (&self.workload, self.client);
        self.http
            .authorizer
            .authorize_requests(workload, self.target, client, self.tls.clone())
            .revoked()
            .await;
    }

    /// Where a request is counted that the policy has just decided.
    fn series(&self, policy: &mut Policy, grpc: bool, probe: bool) -> (Arc<HttpSeries>, Arc<RouteSeries>) {
        let Policy { authorization, series } = policy;
        let known = series
            .take()
            .filter(|series| authorization.server().is_none_or(|server| Arc::ptr_eq(server, &series.server)));
        let series = series.insert(known.unwrap_or_else(|| {
            let server = authorization.server().cloned();
            let server =
                server.unwrap_or_else(|| self.workload.config().policies.port(self.target.port()).labels);
            let leg = self.http.metrics.http(&HttpLabels {
                direction: Direction::Inbound,
                workload: self.workload.labels.clone(),
                target: self.target,
                tls: self.tls.clone(),
                server: Some(server.clone()),
                destination: None,
            });
            PolicySeries { server, leg, routes: Default::default() }
        }));
        let server = &series.server;
        let route = series.routes[usize::from(grpc) + 2 * usize::from(probe)]
            .get_or_insert_with(|| self.route(server, grpc, probe));
        (series.leg.clone(), route.clone())
    }

    fn route(&self, server: &ServerLabels, grpc: bool, probe: bool) -> Arc<RouteSeries> {
        let parent = Parent {
            group: server.group.clone(),
            kind: server.kind.clone(),
            namespace: self.workload.key.namespace.clone(),
            name: server.name.clone(),
            port: server.port,
        };
        self.http.metrics.route(&RouteLabels {
            direction: Direction::Inbound,
            workload: self.workload.labels.clone(),
            parent: Arc::new(parent),
            application: if grpc { Application::Grpc } else { Application::Http },
            probe,
        })
    }

    /// Opens a connection to the application.
    pub(super) async fn open(&self) -> Result<HttpIo, ProxyError> {
        let stream = connect_application(&self.http.capture, &self.workload, self.target, self.client, false)
            .await
            .map_err(|failure| ProxyError::Application { failure, unsent: true })?;
        Ok(self.application_io(stream))
    }

    /// Counts the bytes of a connection to the application.
    pub(super) fn application_io(&self, stream: TcpStream) -> HttpIo {
        let (workload, target) = (&self.workload, self.target);
        let server = workload.config().policies.port(target.port()).labels;
        let counter = self.http.authorizer.open_counter(workload, target, server, &self.tls, Peer::Dst);
        HttpIo::new(Bytes::new(), Metered::new(AppStream::new(stream), ConnectionRecord::new(counter)))
    }
}

impl Admitted {
    /// Measures the request's body.
    pub(super) fn time(&self, body: &mut RequestBody) {
        body.time(self.request.timer());
    }

    /// The application has answered.
    pub(super) fn responded(
        self,
        response: &mut Response<ResponseBody>,
        connection: Option<Box<dyn Release>>,
        client: Option<Arc<Connection>>,
    ) {
        let record = self.request.responded(response);
        watch(response, Some(record), Hold { permits: vec![self.permit], connection, client, picked: None });
    }

    /// The application has accepted a tunnel, which keeps the permit.
    pub(super) fn upgraded(self, response: &mut Response<ResponseBody>) -> RequestPermit {
        let record = self.request.responded(response);
        watch(response, Some(record), Hold::default());
        self.permit
    }

    /// The request is sent again.
    pub(super) fn repeated(self) {
        self.request.repeated();
    }

    /// The request was not answered.
    pub(super) fn failed(self, error: &ProxyError) {
        self.request.failed(error.recorded());
    }
}

fn header_value(identity: &Identity) -> Option<HeaderValue> {
    HeaderValue::from_str(identity.as_str()).ok()
}
