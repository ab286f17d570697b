//! A request at its destination: authorize, mark with the client's identity, pass to the application.
//!
//! Requests from other nodes and from this one take these steps alike.

use std::{sync::Arc, time::Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{
    body::{Release, RequestBody, ResponseBody},
    broken::Broken,
    client::{Client, Used},
    connection::Connection,
    context::{Admitted, InboundContext},
    error::{NO_EXTENDED_CONNECT, ProxyError},
    headers,
    http1::Http1,
    http2::Http2,
    interim,
    link::Answer,
    origin::Origin,
    original_protocol::OriginalProtocol,
    pool::{ConnectionLease, LeasedFrom, Shared},
    received::Received,
    replay::{Replay, Resends},
    server::{Handler, HttpVersion, StreamError},
    settings::HTTP2,
    unsent,
    upgrade::{self, Upgrade},
};

/// Serves the requests on one connection to a workload of this node.
pub(super) struct InboundConnection {
    context: Arc<InboundContext>,
    connection: Arc<Connection>,
    /// The client is a weft proxy.
    from_weft: bool,
    /// Idle connections to the application: one, or more if the client is a sidecar that sends HTTP/1 over HTTP/2.
    http1: Arc<Mutex<Vec<Http1>>>,
    http2: Shared,
}

impl InboundConnection {
    /// `application` is connected already, if the client was silent for a while.
    pub(super) fn new(context: InboundContext, connection: Arc<Connection>, from_weft: bool) -> Arc<Self> {
        let (http1, http2) = (Arc::default(), Shared::new());
        Arc::new(Self { context: Arc::new(context), connection, from_weft, http1, http2 })
    }

    /// Uses a connection to the application that exists already for the first request.
    pub(super) async fn adopt(&self, application: TcpStream, version: HttpVersion) -> Result<(), Broken> {
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
        // Only a sidecar of the mesh says what a request was at its source.
        let original = match self.context.tls.identity() {
            Some(_) => OriginalProtocol::restore(&mut request).map_err(ProxyError::BadRequest)?,
            None => None,
        };
        if original.is_some() {
            // It is a request of HTTP/1 now.
            headers::check(&request).map_err(ProxyError::BadRequest)?;
        }
        headers::complete_authority(&mut request).map_err(ProxyError::BadRequest)?;
        let admitted = self.context.admit(&mut request, started)?;
        let upgrade = Upgrade::of(&mut request);
        headers::strip_request(request.headers_mut(), upgrade.is_some());
        let interims = interim::connect(&mut request, &self.connection);
        let mut request = request.map(RequestBody::incoming);
        admitted.time(request.body_mut());
        match interims.until(self.forward(request)).await.flatten() {
            Ok((response, used)) => {
                let connection = ConnectionLease::new(used, LeasedFrom::Client(self.http1.clone()));
                let mut response = self.respond(response, connection, admitted, upgrade);
                if let Some(original) = original {
                    original.mark(&mut response);
                }
                Ok(response)
            }
            Err(error) => {
                admitted.failed(&error);
                Err(error)
            }
        }
    }

    fn respond(
        &self,
        response: Response<Received>,
        connection: Box<dyn Release>,
        admitted: Admitted,
        upgrade: Option<Upgrade>,
    ) -> Response<ResponseBody> {
        let (mut response, tunnel) = upgrade::accepted(upgrade, response, &self.connection);
        headers::strip_response(response.headers_mut(), tunnel.is_some());
        let mut response = response.map(ResponseBody::of);
        let Some(tunnel) = tunnel else {
            self.connection.link().answer(Answer::Declined);
            admitted.responded(&mut response, Some(connection), Some(self.connection.clone()));
            return response;
        };
        // An open tunnel counts as a request in flight.
        let hold = (admitted.upgraded(&mut response), connection.for_tunnel());
        let context = self.context.clone();
        self.connection.spawn(async move {
            let _hold = hold;
            tokio::select! {
                () = tunnel.run() => {}
                () = context.revoked() => {}
            }
        });
        response
    }

    async fn forward(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Received>, Used), ProxyError> {
        let mut may_have_arrived = false;
        let mut resends = Resends::at_destination();
        loop {
            let fresh = resends.wants_new_connection();
            let client = self.client(HttpVersion::of(request.version()), fresh).await;
            let client = client.map_err(|error| if may_have_arrived { error.after_sent() } else { error })?;
            if !client.takes(&request).await {
                return Err(NO_EXTENDED_CONNECT);
            }
            let replay = Replay::of(&mut request, client.is_reused(), false);
            match client.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    may_have_arrived |= !error.is_unprocessed();
                    request = resends.after(replay, error, false).await?;
                }
            }
        }
    }

    /// The idle connection to the application, or a new one. `fresh`: idle ones are not good enough.
    async fn client(&self, version: HttpVersion, fresh: bool) -> Result<Client, ProxyError> {
        match version {
            HttpVersion::Http1 => {
                while let Some(idle) = { self.http1.lock().pop() } {
                    if idle.is_usable() && !fresh {
                        return Ok(Client::Http1(idle));
                    }
                }
                let io = self.context.open().await?;
                let opened = Http1::open(io, Origin::application()).await.map_err(Broken::from)?;
                Ok(Client::Http1(opened))
            }
            HttpVersion::Http2 => {
                if let Some(open) = self.http2.get(|_| true) {
                    return Ok(Client::Http2(open));
                }
                let _one_at_a_time = self.http2.opening.lock().await;
                if let Some(open) = self.http2.get(|_| true) {
                    return Ok(Client::Http2(open));
                }
                let io = self.context.open().await?;
                let opened = Http2::open(io, Origin::application(), &HTTP2).await.map_err(Broken::from)?;
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
                let error = StreamError::of_peer(error, version)?;
                self.context.log_error(&error);
                let meshed = self.context.tls.identity().is_some();
                if self.from_weft && error.is_unsent() {
                    return unsent::answer(&error, version, grpc, meshed);
                }
                Ok(error.respond(version, grpc, meshed))
            }
        }
    }
}
