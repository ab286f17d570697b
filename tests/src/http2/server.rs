//! A server that answers every request with what a function returns, and remembers its connections. Requests with
//! `x-chat` are conversations ([`chat`]).

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;
use tokio::{runtime::Handle, sync::Notify};

use super::{Answer, BreakOff, Received, chat, runtime};
use crate::{backends::server::listen, netns::Netns};

/// A listening socket. When it is dropped, it stops listening and its connections end.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Respond = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

/// How a server treats its connections.
#[derive(Clone, Copy)]
enum Manner {
    /// It waits until the client has begun.
    Waiting,
    /// It sends its SETTINGS at once.
    Eager,
    /// It says GOAWAY after so many requests.
    Ending(u64),
}

struct Shared {
    respond: Respond,
    manner: Manner,
    stop: Notify,
    peers: Mutex<Vec<SocketAddr>>,
    open: AtomicU64,
    requests: AtomicU64,
}

impl Server {
    /// Serves `port` of both families inside `netns`. On each connection it waits until the client has begun.
    pub fn start(
        netns: &Netns,
        port: u16,
        respond: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::begin(netns, port, Manner::Waiting, Box::new(respond))
    }

    /// The same, but it ends each connection in order after `requests`, as servers do that are about to stop.
    pub fn ending(
        netns: &Netns,
        port: u16,
        requests: u64,
        respond: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::begin(netns, port, Manner::Ending(requests), Box::new(respond))
    }

    /// The same, but it sends its SETTINGS at once, as many servers do (RFC 9113, section 3.4).
    pub fn eager(
        netns: &Netns,
        port: u16,
        respond: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::begin(netns, port, Manner::Eager, Box::new(respond))
    }

    fn begin(netns: &Netns, port: u16, manner: Manner, respond: Respond) -> Result<Self> {
        let listener = netns.run(|| listen((Ipv6Addr::UNSPECIFIED, port).into()))??;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            respond,
            manner,
            stop: Notify::new(),
            peers: Mutex::default(),
            open: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let runtime = runtime()?;
        runtime.spawn(accept(listener, shared.clone(), runtime.clone()));
        Ok(Self { address, shared })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The clients' addresses of all connections so far, in their order.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.shared.peers().clone()
    }

    /// The number of connections that are open.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The number of whole requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One waits to accept; the connections are told by it.
        self.shared.stop.notify_one();
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, runtime: Handle) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut serving = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.notified() => return,
        };
        let Ok((stream, peer)) = accepted else { return };
        let number = {
            let mut peers = shared.peers();
            peers.push(peer);
            peers.len() as u64 - 1
        };
        let shared = shared.clone();
        // A JoinSet ends its tasks when it is dropped.
        serving.spawn_on(
            async move {
                let _open = Open::new(&shared.open);
                let _ = stream.set_nodelay(true);
                // The client learns of an error.
                let _ = serve(stream, peer, number, &shared).await;
            },
            &runtime,
        );
        while serving.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    connection: u64,
    shared: &Arc<Shared>,
) -> Result<()> {
    if !matches!(shared.manner, Manner::Eager) {
        stream.peek(&mut [0]).await?;
    }
    let descriptor = stream.as_fd().try_clone_to_owned()?;
    let mut builder = h2::server::Builder::new();
    let mut requests = builder.max_concurrent_streams(10_000).handshake(stream).await?;
    let mut answering = tokio::task::JoinSet::new();
    let abort = Arc::new(Notify::new());
    let mut count = 0;
    loop {
        let accepted = tokio::select! {
            accepted = requests.accept() => accepted,
            () = abort.notified() => {
                socket2::SockRef::from(&descriptor).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        count += 1;
        if matches!(shared.manner, Manner::Ending(last) if last == count) {
            requests.graceful_shutdown();
        }
        let (shared, abort) = (shared.clone(), abort.clone());
        answering.spawn(async move { answer(request, respond, peer, connection, &shared, &abort).await });
        while answering.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: SocketAddr,
    connection: u64,
    shared: &Shared,
    abort: &Notify,
) -> Result<()> {
    let (head, mut incoming) = request.into_parts();
    if head.headers.contains_key(chat::MARK) {
        return chat::answer(&head.headers, incoming, respond).await;
    }
    let mut body = Vec::new();
    while let Some(part) = incoming.data().await {
        let part = part?;
        body.extend_from_slice(&part);
        incoming.flow_control().release_capacity(part.len())?;
    }
    let received = Received { head, body, peer, connection };
    let Answer { status, headers, body, trailers, delay, break_off } = (shared.respond)(&received);
    shared.requests.fetch_add(1, Ordering::SeqCst);
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        // Until the client does not want it any more.
        None => {
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
            return Ok(());
        }
    }
    match break_off {
        None => {}
        Some(BreakOff::Stream(reason)) => {
            respond.send_reset(reason);
            return Ok(());
        }
        Some(BreakOff::Connection) => {
            abort.notify_one();
            // Dropped earlier, the stream would be reset before its connection.
            return std::future::pending().await;
        }
    }
    let mut response = http::Response::builder().status(status).body(()).context("an impossible status")?;
    *response.headers_mut() = headers;
    let mut stream = respond.send_response(response, body.is_empty() && trailers.is_none())?;
    if !body.is_empty() {
        stream.send_data(body.into(), trailers.is_none())?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

/// Counts a connection while it is open.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
