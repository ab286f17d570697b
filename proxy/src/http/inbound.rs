//! A request at its destination: authorize, mark with the client's identity, pass to the application.
//!
//! Requests from other nodes and from this one take these steps alike.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{
    Http,
    access_log::Entry,
    body::{Hold, RequestBody, ResponseBody, watch},
    client::{Client, GiveBack, Home, Http1, Http2, Origin, Used},
    error::ProxyError,
    headers,
    io::HttpIo,
    link::{self, Answer},
    original_protocol::OriginalProtocol,
    pool::Shared,
    record,
    replay::Replay,
    server::{Connection, Handler, HttpVersion, StreamError},
    settings::HTTP2,
    upgrade::Upgrade,
    worst::Table,
};
use crate::{
    authorize::{RequestAuthorization, RequestSettings},
    limits::RequestPermit,
    metrics::{
        Application, ConnectionRecord, HttpLabels, HttpSeries, Metered, Parent, RouteLabels, RouteSeries, Tls,
    },
    net::{AppStream, Direction, Peer},
    policy::DenyReason,
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
    authorization: Mutex<RequestAuthorization>,
    leg: Arc<HttpSeries>,
    routes: [OnceLock<Arc<RouteSeries>>; 2],
    worst: Table,
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
        let port = workload.config().policies.port(target.port());
        let leg = http.metrics.http(&HttpLabels {
            direction: Direction::Inbound,
            workload: workload.labels.clone(),
            target,
            tls: tls.clone(),
            server: Some(port.labels),
            destination: None,
        });
        let authorization = http.authorizer.authorize_requests(workload, target, client.ip(), tls.clone());
        Self {
            http: http.clone(),
            workload: workload.clone(),
            target,
            client,
            client_id: tls.identity().and_then(header_value),
            tls,
            authorization: Mutex::new(authorization),
            leg,
            routes: Default::default(),
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
        let mut counted = record::Request::begin(self.leg.clone(), self.route(grpc).clone(), grpc, started);
        counted.observers.push(Box::new(self.worst.see(request)));
        let (decision, settings) = self.decide();
        if let Some(format) = settings.access_log {
            counted.observers.push(Box::new(Entry::new(format, request, self)));
        }
        let head = headers::size(request);
        let permit = decision.map_err(ProxyError::Denied).and_then(|()| {
            self.workload.requests.acquire(Direction::Inbound, head).ok_or(ProxyError::LoadShed)
        });
        match permit {
            Ok(permit) => {
                if settings.interprets {
                    headers::strip_linkerd(request.headers_mut());
                    if let Some(identity) = &self.client_id {
                        request.headers_mut().insert(headers::CLIENT_ID, identity.clone());
                    }
                }
                Ok(Admitted { request: counted, permit })
            }
            Err(error) => {
                counted.failed(error.status(), error.failure());
                Err(error)
            }
        }
    }

    fn decide(&self) -> (Result<(), DenyReason>, RequestSettings) {
        let mut authorization = self.authorization.lock();
        (authorization.check(), authorization.settings())
    }

    /// Resolves when the policy denies this client; for what goes on after a request.
    pub(super) async fn revoked(&self) {
        let (workload, client) = (&self.workload, self.client.ip());
        self.http
            .authorizer
            .authorize_requests(workload, self.target, client, self.tls.clone())
            .revoked()
            .await;
    }

    fn route(&self, grpc: bool) -> &Arc<RouteSeries> {
        self.routes[usize::from(grpc)].get_or_init(|| {
            let server = self.workload.config().policies.port(self.target.port()).labels;
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
            })
        })
    }

    /// Opens a connection to the application.
    async fn open(&self) -> Result<HttpIo, ProxyError> {
        let stream = connect_application(&self.http.capture, &self.workload, self.target, self.client, false)
            .await
            .map_err(ProxyError::Application)?;
        Ok(self.application_io(stream))
    }

    /// Counts the bytes of a connection to the application.
    fn application_io(&self, stream: TcpStream) -> HttpIo {
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
    pub(super) fn responded(self, response: &mut Response<ResponseBody>, connection: Option<GiveBack>) {
        let record = self.request.responded(response);
        watch(response, Some(record), Hold { permits: vec![self.permit], connection, picked: None });
    }

    /// The request is sent again.
    pub(super) fn repeated(self) {
        self.request.repeated();
    }

    /// The request was not answered.
    pub(super) fn failed(self, error: &ProxyError) {
        self.request.failed(error.status(), error.failure());
    }
}

/// Serves the requests on one connection to a workload of this node.
pub(super) struct InboundConnection {
    context: Arc<InboundContext>,
    connection: Arc<Connection>,
    /// Idle connections to the application: one, or more if the client is a sidecar that sends HTTP/1 over HTTP/2.
    http1: Arc<Mutex<Vec<Http1>>>,
    http2: Shared,
}

impl InboundConnection {
    /// `application` is connected already, if the client was silent for a while.
    pub(super) fn new(context: InboundContext, connection: Arc<Connection>) -> Arc<Self> {
        let (http1, http2) = (Arc::default(), Shared::new());
        Arc::new(Self { context: Arc::new(context), connection, http1, http2 })
    }

    /// Uses a connection to the application that exists already for the first request.
    pub(super) async fn adopt(&self, application: TcpStream, version: HttpVersion) -> hyper::Result<()> {
        let io = self.context.application_io(application);
        match version {
            HttpVersion::Http1 => {
                let mut opened = Http1::open(io, Origin::application()).await?;
                opened.ready().await?;
                self.http1.lock().push(opened);
            }
            HttpVersion::Http2 => {
                self.http2.add(&Http2::open(io, Origin::application(), &HTTP2).await?);
            }
        }
        Ok(())
    }

    async fn serve(&self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, ProxyError> {
        let started = Instant::now();
        headers::check(&request).map_err(ProxyError::BadRequest)?;
        let original = OriginalProtocol::restore(&mut request).map_err(ProxyError::BadRequest)?;
        let admitted = self.context.admit(&mut request, started)?;
        let upgrade = Upgrade::of(&mut request);
        headers::strip_request(request.headers_mut(), upgrade.is_some());
        let interims = link::connect(&mut request, &self.connection);
        let mut request = request.map(RequestBody::incoming);
        admitted.time(request.body_mut());
        match interims.until(self.forward(request)).await {
            Ok((response, used)) => {
                let connection = GiveBack::new(used, Home::Slot(self.http1.clone()));
                let mut response = self.respond(response, upgrade);
                if let Some(original) = original {
                    original.mark(&mut response);
                }
                admitted.responded(&mut response, Some(connection));
                Ok(response)
            }
            Err(error) => {
                admitted.failed(&error);
                Err(error)
            }
        }
    }

    fn respond(&self, mut response: Response<Incoming>, upgrade: Option<Upgrade>) -> Response<ResponseBody> {
        let tunnel = upgrade.and_then(|upgrade| upgrade.accept(&mut response, &self.connection));
        headers::strip_response(response.headers_mut(), tunnel.is_some());
        let Some(tunnel) = tunnel else {
            self.connection.link().answer(Answer::Declined);
            return response.map(ResponseBody::incoming);
        };
        let context = self.context.clone();
        self.connection.spawn(async move {
            tokio::select! {
                () = tunnel.run() => {}
                () = context.revoked() => {}
            }
        });
        response.map(|_| ResponseBody::empty())
    }

    async fn forward(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Used), ProxyError> {
        loop {
            let client = self.client(HttpVersion::of(request.version())).await?;
            let replay = Replay::of(&request, client.is_reused());
            match client.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => request = replay.after(error).map_err(ProxyError::Stream)?,
            }
        }
    }

    /// The idle connection to the application, or a new one.
    async fn client(&self, version: HttpVersion) -> Result<Client, ProxyError> {
        match version {
            HttpVersion::Http1 => {
                while let Some(idle) = { self.http1.lock().pop() } {
                    if idle.is_usable() {
                        return Ok(Client::Http1(idle));
                    }
                }
                let io = self.context.open().await?;
                Http1::open(io, Origin::application()).await.map(Client::Http1).map_err(ProxyError::Stream)
            }
            HttpVersion::Http2 => {
                if let Some(open) = self.http2.get(None) {
                    return Ok(Client::Http2(open));
                }
                let _one_at_a_time = self.http2.opening.lock().await;
                if let Some(open) = self.http2.get(None) {
                    return Ok(Client::Http2(open));
                }
                let io = self.context.open().await?;
                let opened =
                    Http2::open(io, Origin::application(), &HTTP2).await.map_err(ProxyError::Stream)?;
                self.http2.add(&opened);
                Ok(Client::Http2(opened))
            }
        }
    }
}

impl Handler for InboundConnection {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, StreamError> {
        let (version, grpc) = (request.version(), headers::is_grpc(request.headers()));
        match self.serve(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.connection.link().answer(Answer::Declined);
                let error = StreamError::of_peer(error)?;
                self.context.http.log_error(
                    Direction::Inbound,
                    &self.context.workload,
                    self.context.target,
                    &error,
                );
                Ok(error.respond(version, grpc))
            }
        }
    }
}

fn header_value(identity: &Identity) -> Option<HeaderValue> {
    HeaderValue::from_str(identity.as_str()).ok()
}
