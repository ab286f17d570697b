//! A request at its source: find an endpoint, and send the request on a connection of the pool.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use http::{Request, Response, Version, header};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::{
    Http, Outgoing,
    body::{Hold, Release, RequestBody, ResponseBody, watch},
    client::{Client, Used},
    connection::Connection,
    context::{Admitted, InboundContext},
    endpoint::{Need, Reached, Source},
    error::{NO_EXTENDED_CONNECT, PROXY_CONNECTION, PROXY_ERROR, ProxyError},
    headers,
    interim::{self, Interims},
    link::Answer,
    original_protocol::{CarriedProtocol, OriginalProtocol},
    pool::{ConnectionLease, Key, LeasedFrom},
    received::Received,
    record,
    replay::{Replay, Resends},
    route::Route,
    server::{Handler, HttpVersion, StreamError},
    tapped::Tapped,
    unsent,
    upgrade::{self, Upgrade},
};
use crate::{discovery::Destination, limits::RequestPermit, net::Direction, refusal::Reason};

/// Serves the requests on one connection that a workload opened.
pub(super) struct OutboundConnection {
    http: Arc<Http>,
    source: Source,
    /// What the address stood for when the last request came.
    route: Mutex<Arc<Route>>,
    connection: Arc<Connection>,
}

/// A response, and what goes with it.
struct Answered {
    response: Response<Received>,
    /// The connection, to be returned.
    connection: Box<dyn Release>,
    hold: Hold,
    /// Recorded at the source, and at the destination if that is on this node.
    request: record::Request,
    admitted: Option<Admitted>,
    local: Option<Arc<InboundContext>>,
}

impl OutboundConnection {
    pub(super) fn new(http: &Arc<Http>, outgoing: Outgoing, connection: Arc<Connection>) -> Arc<Self> {
        let Outgoing { source, client, original, destination, early } = outgoing;
        let route = Mutex::new(Arc::new(Route::new(destination, original.port())));
        let source = Source::new(http, source, client, original, early);
        Arc::new(Self { http: http.clone(), source, route, connection })
    }

    async fn serve(&self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, ProxyError> {
        let started = Instant::now();
        headers::check(&request).map_err(ProxyError::BadRequest)?;
        headers::complete_authority(&mut request).map_err(ProxyError::BadRequest)?;
        let requests = &self.source.workload.requests;
        let head = headers::size(&request);
        let permit = requests.acquire(Direction::Outbound, head).ok_or(ProxyError::LoadShed)?;
        let upgrade = Upgrade::of(&mut request);
        headers::strip_request(request.headers_mut(), upgrade.is_some());
        let interims = interim::connect(&mut request, &self.connection);
        let answer = self.send(request.map(RequestBody::incoming), started, &interims).await?;
        Ok(self.respond(answer, permit, upgrade))
    }

    /// Sends a request to an endpoint; to another one if the first has certainly not processed it.
    async fn send(
        &self,
        mut request: Request<RequestBody>,
        started: Instant,
        interims: &Interims,
    ) -> Result<Answered, ProxyError> {
        let grpc = headers::is_grpc(request.headers());
        let need = Need::of(&request);
        let route = self.route();
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut resends = Resends::at_source();
        loop {
            let fresh = resends.wants_new_connection();
            let reached = self.source.reach(&route, need, &mut tried, fresh).await;
            let Reached { client, picked, key } = match reached {
                Ok(reached) => reached,
                Err(error) => return Err(self.not_reached(&route, error, &mut request, grpc, started)),
            };
            if !client.takes(&request).await {
                return Err(self.not_reached(&route, NO_EXTENDED_CONNECT, &mut request, grpc, started));
            }
            let origin = client.origin().clone();
            let leg = origin.leg.clone().unwrap_or_else(|| self.source.leg(&route));
            let mut counted = record::Request::begin(
                leg,
                route.series(&self.http.metrics, &self.source.workload, grpc),
                grpc,
                started,
            );
            if let Some(target) = &origin.target {
                Tapped::observe(self.source.tap(target, &request, started), &mut counted);
            }
            request.body_mut().forget_timers();
            request.body_mut().time(counted.timer());
            let admitted = match &origin.local {
                None => None,
                Some(local) => match local.admit(&mut request, started) {
                    Ok(admitted) => {
                        admitted.time(request.body_mut());
                        Some(admitted)
                    }
                    Err(error) => {
                        counted.failed(error.recorded());
                        self.keep(client, key);
                        return Err(error);
                    }
                },
            };
            let carried = match self.carry(&client, &mut request) {
                Ok(carried) => carried,
                Err(error) => {
                    counted.failed(error.recorded());
                    return Err(error);
                }
            };
            let to_weft = resends.may_go_on() && origin.to_weft && picked.is_some();
            let replay = Replay::of(&mut request, client.is_reused(), to_weft);
            let sent = Instant::now();
            let answered = match interims.until(client.send(request)).await {
                Ok(answered) => answered,
                Err(error) => {
                    counted.failed(error.recorded());
                    if let Some(admitted) = admitted {
                        admitted.failed(&error);
                    }
                    return Err(error);
                }
            };
            match answered {
                Ok((mut response, used)) => {
                    if let Some(carried) = carried {
                        carried.restore(&mut response);
                    }
                    let again = if to_weft && unsent::is_told(response.headers()) {
                        if let Some(picked) = &picked {
                            picked.failed();
                            tried.push(picked.endpoint().addr);
                        }
                        resends.after_unsent(replay, route.has_others(&tried)).await
                    } else {
                        if let Some(picked) = &picked {
                            if is_peers_failure(&response) {
                                picked.failed();
                            } else {
                                picked.answered(sent.elapsed());
                                route.answered();
                            }
                        }
                        replay.answered();
                        None
                    };
                    if let Some(again) = again {
                        counted.repeated();
                        request = again;
                        continue;
                    }
                    let connection =
                        ConnectionLease::new(used, LeasedFrom::Pool(self.http.pools.clone(), key));
                    let hold = Hold { picked, ..Hold::default() };
                    let local = origin.local.clone();
                    return Ok(Answered { response, connection, hold, request: counted, admitted, local });
                }
                Err(error) => {
                    let fault = error.is_endpoints_fault();
                    if fault && let Some(picked) = &picked {
                        picked.failed();
                        tried.push(picked.endpoint().addr);
                    }
                    let others = fault && route.has_others(&tried);
                    request = match resends.after(replay, error, others).await {
                        Ok(mut again) => {
                            if carried.is_some() {
                                // The next endpoint may want it as it was.
                                OriginalProtocol::restore(&mut again).map_err(ProxyError::BadRequest)?;
                            }
                            counted.repeated();
                            if let Some(admitted) = admitted {
                                admitted.repeated();
                            }
                            again
                        }
                        Err(error) => {
                            counted.failed(error.recorded());
                            if let Some(admitted) = admitted {
                                admitted.failed(&error);
                            }
                            return Err(error);
                        }
                    };
                }
            }
        }
    }

    /// Makes a request of HTTP/1 one of HTTP/2, if that is spoken on the connection.
    fn carry(
        &self,
        client: &Client,
        request: &mut Request<RequestBody>,
    ) -> Result<Option<CarriedProtocol>, ProxyError> {
        if request.version() == Version::HTTP_2 || !matches!(client, Client::Http2(_)) {
            return Ok(None);
        }
        CarriedProtocol::carry(request, self.source.original).map(Some).map_err(ProxyError::BadRequest)
    }

    /// What the dialled address stands for now.
    fn route(&self) -> Arc<Route> {
        let mut route = self.route.lock();
        // What is not known any more, or not to be interpreted any more, stays what it was for this connection.
        if let Some(now) = self.http.discovery.known(self.source.original)
            && !matches!(&*now, Destination::External)
            && !route.is_of(&now)
        {
            *route = Arc::new(Route::new(now, self.source.original.port()));
        }
        route.clone()
    }

    /// Counts a request for which there was no connection.
    fn not_reached(
        &self,
        route: &Route,
        error: ProxyError,
        request: &mut Request<RequestBody>,
        grpc: bool,
        started: Instant,
    ) -> ProxyError {
        if let ProxyError::Connect(failure) = &error
            && failure.reason() == Reason::DeniedByPolicy
            && let Some(local) = self.source.denied_by(route)
        {
            // Counts and logs the denial for the destination.
            let _ = local.admit(request, started);
        }
        let mut counted = record::Request::begin(
            self.source.leg(route),
            route.series(&self.http.metrics, &self.source.workload, grpc),
            grpc,
            started,
        );
        Tapped::observe(self.source.tap(&self.source.nowhere(route), request, started), &mut counted);
        counted.failed(error.recorded());
        error
    }

    /// Keeps a connection that was not used.
    fn keep(&self, client: Client, key: Key) {
        if let Client::Http1(connection) = client {
            ConnectionLease::new(Used::Http1(connection), LeasedFrom::Pool(self.http.pools.clone(), key))
                .release();
        }
    }

    fn respond(
        &self,
        answer: Answered,
        permit: RequestPermit,
        upgrade: Option<Upgrade>,
    ) -> Response<ResponseBody> {
        let Answered { response, connection, mut hold, request, admitted, local } = answer;
        let (mut response, tunnel) = upgrade::accepted(upgrade, response, &self.connection);
        let version = response.version();
        let headers = response.headers_mut();
        headers::strip_response(headers, tunnel.is_some());
        headers.remove(PROXY_ERROR);
        if headers.remove(PROXY_CONNECTION).is_some() && HttpVersion::of(version) == HttpVersion::Http1 {
            headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
        }
        hold.permits.push(permit);
        hold.client = Some(self.connection.clone());
        let mut response = response.map(ResponseBody::of);
        let record = request.responded(&response);
        let Some(tunnel) = tunnel else {
            self.connection.link().answer(Answer::Declined);
            if let Some(admitted) = admitted {
                admitted.responded(&mut response, None, None);
            }
            hold.connection = Some(connection);
            watch(&mut response, Some(record), hold);
            return response;
        };
        // An open tunnel counts as a request in flight, and as load of its endpoint.
        hold.permits.extend(admitted.map(|admitted| admitted.upgraded(&mut response)));
        hold.connection = connection.for_tunnel();
        watch(&mut response, Some(record), Hold::default());
        self.connection.spawn(async move {
            let _hold = hold;
            let revoked = async {
                match local {
                    Some(local) => local.revoked().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tunnel.run() => {}
                () = revoked => {}
            }
        });
        response
    }
}

/// Whether the proxy at the destination has answered because the application did not.
fn is_peers_failure(response: &Response<Received>) -> bool {
    response.headers().contains_key(PROXY_CONNECTION) && response.headers().contains_key(PROXY_ERROR)
}

impl Handler for OutboundConnection {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, StreamError> {
        let (version, grpc) = (request.version(), headers::is_grpc(request.headers()));
        match self.serve(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.connection.link().answer(Answer::Declined);
                // A client of HTTP/1 has no streams: it gets an answer.
                let error = StreamError::of_peer(error, version)?;
                let (workload, original) = (&self.source.workload, self.source.original);
                self.http.log_error(Direction::Outbound, workload, original, &error);
                Ok(error.respond(version, grpc, true))
            }
        }
    }
}
