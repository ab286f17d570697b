//! HTTP/2 and gRPC requests, many at a time on each connection.

use std::{
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt, future, stream::FuturesUnordered};
use h2::client::{self, SendRequest};
use http::{Method, Request, StatusCode};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    super::{Done, Load, TIMEOUT, schedule::Schedule},
    BODY, PREFIX, message,
    timer::Timer,
};
use crate::bench::samples::Samples;

/// One thread, which runs the connections while [`Load::run`] runs.
pub(in crate::bench::load) struct Http2 {
    runtime: Runtime,
    connections: Vec<SendRequest<Bytes>>,
    call: Call,
    pace: Pace,
}

#[derive(Clone, Copy)]
pub(in crate::bench::load) enum Pace {
    /// Requests per second, due at fixed times.
    Rate(u32),
    /// Requests in progress on each connection.
    Streams(usize),
}

/// A request that is repeated.
struct Call {
    request: Request<()>,
    /// Of a gRPC call.
    message: Option<Bytes>,
}

/// Flow control must not be what is measured.
pub(super) const WINDOW: u32 = 1 << 20;

impl Http2 {
    pub(in crate::bench::load) fn start(
        target: SocketAddr,
        is_grpc: bool,
        connections: usize,
        pace: Pace,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let open = future::try_join_all((0..connections).map(|_| connect(target)));
        let connections = runtime.block_on(open).with_context(|| target.to_string())?;
        Ok(Self { runtime, connections, call: Call::new(target, is_grpc)?, pace })
    }

    /// Requests at their due times, on the connections in turn.
    async fn paced(&self, rate: u32, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let (timer, start) = (Timer::new()?, Instant::now());
        let mut schedule = Schedule::new(start, rate, duration);
        let mut open = FuturesUnordered::new();
        let (mut sent, mut answered) = (0, 0);
        loop {
            while let Some(due) = schedule.take(Instant::now()) {
                let connection = &self.connections[sent % self.connections.len()];
                sent += 1;
                open.push(async move { self.call.make(connection).await.map(|()| due) });
            }
            let finished = match schedule.next_due() {
                Some(due) => tokio::select! {
                    biased;
                    Some(finished) = open.next() => Some(finished),
                    waited = timer.until(due) => { waited?; None }
                },
                None => match timeout(TIMEOUT, open.next()).await.context("no answer")? {
                    None => break,
                    finished => finished,
                },
            };
            if let Some(due) = finished.transpose()? {
                samples.push(due.elapsed());
                answered += 1;
            }
        }
        Ok(Done { operations: answered, elapsed: start.elapsed() })
    }

    /// On every stream, each request as soon as the last is answered.
    async fn unpaced(&self, streams: usize, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let (start, samples) = (Instant::now(), RefCell::new(samples));
        let repeat = async |connection: &SendRequest<Bytes>| -> Result<u64> {
            let mut answered = 0;
            loop {
                let due = Instant::now();
                if due - start >= duration {
                    return Ok(answered);
                }
                self.call.make(connection).await?;
                samples.borrow_mut().push(due.elapsed());
                answered += 1;
            }
        };
        let all = (0..streams).flat_map(|_| &self.connections).map(repeat);
        let all = timeout(duration + TIMEOUT, future::try_join_all(all)).await.context("no answer")??;
        Ok(Done { operations: all.into_iter().sum(), elapsed: start.elapsed() })
    }
}

impl Load for Http2 {
    fn run(&mut self, duration: Duration, samples: &mut Samples) -> Result<Done> {
        let this = &*self;
        this.runtime.block_on(async {
            match this.pace {
                Pace::Rate(rate) => this.paced(rate, duration, samples).await,
                Pace::Streams(streams) => this.unpaced(streams, duration, samples).await,
            }
        })
    }
}

impl Call {
    fn new(target: SocketAddr, is_grpc: bool) -> Result<Self> {
        let request = Request::builder();
        let (request, message) = if is_grpc {
            let request = request.method(Method::POST).uri(format!("http://{target}/weft.bench.Echo/Call"));
            (
                request.header("content-type", "application/grpc").header("te", "trailers"),
                Some(message().into()),
            )
        } else {
            (request.uri(format!("http://{target}/bench")), None)
        };
        Ok(Self { request: request.body(())?, message })
    }

    /// Sends the request and reads the whole answer, which must be the expected one.
    async fn make(&self, connection: &SendRequest<Bytes>) -> Result<()> {
        let mut connection = connection.clone().ready().await.context("the connection")?;
        let (response, mut body) =
            connection.send_request(self.request.clone(), self.message.is_none()).context("sending")?;
        if let Some(message) = &self.message {
            body.send_data(message.clone(), true).context("sending")?;
        }
        let response = response.await.context("the answer")?;
        ensure!(response.status() == StatusCode::OK, "the answer has status {}", response.status());
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data.context("the answer's body")?;
            length += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        let expected = if self.message.is_some() { PREFIX + BODY } else { BODY };
        ensure!(length == expected, "an answer of {length} bytes");
        if self.message.is_some() {
            let trailers = body.trailers().await.context("the trailers")?.unwrap_or_default();
            let status = trailers.get("grpc-status");
            ensure!(status.is_some_and(|status| status == "0"), "grpc-status is {status:?}");
        }
        Ok(())
    }
}

async fn connect(target: SocketAddr) -> Result<SendRequest<Bytes>> {
    let Ok(stream) = timeout(TIMEOUT, TcpStream::connect(target)).await else {
        bail!("no connection for {TIMEOUT:?}");
    };
    let stream = stream?;
    stream.set_nodelay(true)?;
    let mut options = client::Builder::new();
    options.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
    let (requests, connection) = options.handshake(stream).await?;
    // If it fails, so do the requests on it.
    tokio::spawn(connection);
    Ok(requests)
}
