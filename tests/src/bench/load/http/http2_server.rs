//! The HTTP/2 server: it answers GET with a body, and POST as a gRPC service does, on one thread.

use std::{
    io,
    net::TcpListener,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::{net::TcpStream, runtime, sync::oneshot};

use super::{
    super::{Side, pin},
    BODY,
    http2::WINDOW,
    message,
};

/// The thread ends when this is dropped.
pub(in crate::bench::load) struct Http2Server {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const MAX_STREAMS: u32 = 1024;

impl Http2Server {
    pub(in crate::bench::load) fn start(listeners: Vec<TcpListener>) -> Result<Self> {
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("bench-http2".to_owned()).spawn(move || {
            if let Err(e) = run(listeners, ended) {
                eprintln!("the benchmark's HTTP/2 server failed: {e:#}");
            }
        })?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(listeners: Vec<TcpListener>, ended: oneshot::Receiver<()>) -> Result<()> {
    pin(Side::Server)?;
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        for listener in listeners {
            listener.set_nonblocking(true)?;
            tokio::spawn(accept(tokio::net::TcpListener::from_std(listener)?));
        }
        // An error means that the server was dropped.
        let _ = ended.await;
        Ok(())
    })
}

async fn accept(listener: tokio::net::TcpListener) -> io::Result<()> {
    let answers = Answers { body: vec![b'x'; BODY].into(), message: message().into() };
    loop {
        // The client may have closed the connection already.
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        // A connection that fails makes its client fail, which says why.
        tokio::spawn(async move { serve(stream, answers).await.ok() });
    }
}

#[derive(Clone)]
struct Answers {
    body: Bytes,
    message: Bytes,
}

async fn serve(stream: TcpStream, answers: Answers) -> Result<()> {
    let mut options = server::Builder::new();
    options
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS);
    // h2 sends its settings at once. weft may take an application that sends first for opaque, and let the connection
    // bypass the proxy.
    stream.readable().await?;
    let mut connection = options.handshake::<_, Bytes>(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut answer) = request?;
        if request.method() == Method::POST {
            let message = answers.message.clone();
            tokio::spawn(async move { call(request.into_body(), answer, message).await.ok() });
        } else {
            answer
                .send_response(response("application/octet-stream"), false)?
                .send_data(answers.body.clone(), true)?;
        }
    }
    Ok(())
}

/// Reads the whole request and answers with a message and trailers.
async fn call(mut request: RecvStream, mut answer: SendResponse<Bytes>, message: Bytes) -> Result<()> {
    while let Some(data) = request.data().await {
        request.flow_control().release_capacity(data?.len())?;
    }
    let mut body = answer.send_response(response("application/grpc"), false)?;
    body.send_data(message, false)?;
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    body.send_trailers(trailers).context("trailers")
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");

fn response(content_type: &'static str) -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
