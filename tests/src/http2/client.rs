//! A client with one connection.

use std::{
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    task::JoinHandle,
    time::timeout,
};

use super::{Response, runtime};
use crate::{dial, wait};

pub struct Client {
    pub(super) sender: SendRequest<Bytes>,
    ended: Arc<AtomicBool>,
    serving: JoinHandle<()>,
    pub(super) runtime: Handle,
}

/// A request whose response is still to come. When it is dropped, its stream is reset.
pub struct Pending {
    task: JoinHandle<Result<Response>>,
    runtime: Handle,
}

impl Client {
    /// Begins to speak HTTP/2 on a connection.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let runtime = runtime()?;
        let _inside = runtime.enter();
        Self::begin(tokio::net::TcpStream::from_std(stream)?)
    }

    /// The same on a local stream, whose other end is the scenario's.
    pub fn over_unix(stream: UnixStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let runtime = runtime()?;
        let _inside = runtime.enter();
        Self::begin(tokio::net::UnixStream::from_std(stream)?)
    }

    fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let runtime = runtime()?;
        let (sender, connection) =
            runtime.block_on(h2::client::handshake(stream)).context("the beginning of HTTP/2")?;
        let ended = Arc::new(AtomicBool::new(false));
        let note = ended.clone();
        let serving = runtime.spawn(async move {
            // Requests learn of an error.
            let _ = connection.await;
            note.store(true, Ordering::SeqCst);
        });
        Ok(Self { sender, ended, serving, runtime })
    }

    /// Sends a request. The response is received in the background.
    pub fn start(&self, request: Request<Vec<u8>>) -> Pending {
        let sender = self.sender.clone();
        let limit = wait::here(dial::TIMEOUT);
        let task = self.runtime.spawn(async move {
            let exchange = timeout(limit, exchange(sender, request)).await;
            exchange.unwrap_or_else(|_| Err(anyhow!("no response within {limit:?}")))
        });
        Pending { task, runtime: self.runtime.clone() }
    }

    /// Sends a request and waits for its response.
    pub fn send(&self, request: Request<Vec<u8>>) -> Result<Response> {
        self.start(request).wait()
    }

    /// Whether a new request can be sent: the server has not said GOAWAY, and the connection is open.
    pub fn is_open(&self) -> bool {
        let ready = self.runtime.block_on(self.sender.clone().ready());
        ready.is_ok() && !self.ended()
    }

    /// Whether the connection has ended.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Pending {
    /// Waits for the response; the error has that of h2 as its cause.
    pub fn wait(mut self) -> Result<Response> {
        self.runtime.block_on(&mut self.task)?
    }

    /// Whether the response is complete, or there was an error.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether the server ended the connection in good order without having looked at this request: RFC 9113, section 6.8.
/// It crossed the GOAWAY on the wire, and the client may send it again on another connection.
pub fn is_unprocessed(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

async fn exchange(sender: SendRequest<Bytes>, request: Request<Vec<u8>>) -> Result<Response> {
    let mut sender = sender.ready().await.context("the connection takes no more requests")?;
    let (head, body) = request.into_parts();
    let (response, mut stream) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body.into(), true)?;
    }
    let (head, mut incoming) = response.await.context("the response's head")?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = incoming.data().await {
        let part = part.context("the response's body")?;
        body.extend_from_slice(&part);
        incoming.flow_control().release_capacity(part.len())?;
    }
    let trailers = incoming.trailers().await.context("the response's trailers")?.unwrap_or_default();
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
}
