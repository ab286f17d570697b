//! WebSockets over HTTP/2: extended CONNECT (RFC 8441).

use std::{future::poll_fn, net::TcpStream, sync::Mutex, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use h2::{RecvStream, SendStream, ext::Protocol, server::SendResponse};
use http::{Method, Request, Response};
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};
use weft_tests::{
    backends::{Behaviour, Server},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::paths::{Path, cluster, each_meshed_path, each_path};

pub(crate) fn area() -> Area {
    Area::new("http_extended_connect", cluster)
        .scenario(
            "both_ways",
            "After an extended CONNECT, bytes pass both ways, and each side ends its half on its own; other requests on \
             the connection go on.",
            both_ways,
        )
        .scenario(
            "reset",
            "A client that resets the tunnel ends the server's side, and the connection goes on.",
            reset,
        )
        .scenario(
            "broken",
            "A server that breaks the tunnel off, whatever code it gives, is no server that has said all: the client's \
             side is reset, and the connection goes on.",
            broken,
        )
        .scenario(
            "not_announced",
            "A server that does not announce extended CONNECT is not sent one: the client gets 501, and its connection \
             goes on.",
            not_announced,
        )
}

const LIMIT: Duration = Duration::from_secs(20);
/// More than the windows of both legs together.
const LENGTH: usize = 2_000_000;

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = wait::here(LIMIT);
    let runtime = Runtime::new()?;
    let result =
        runtime.block_on(async { timeout(limit, work).await.unwrap_or_else(|_| Err(anyhow!("it hangs"))) });
    runtime.shutdown_background();
    result
}

/// Serves connections with h2. Tunnels go to `tunnel`; other requests are answered with their path.
fn server(
    announces: bool,
    tunnel: impl Fn(SendStream<Bytes>, RecvStream) -> tokio::task::JoinHandle<()> + Send + Sync + 'static,
) -> Behaviour {
    std::sync::Arc::new(move |accepted| {
        let stream = accepted.stream.try_clone()?;
        // It ends with its connection, which the proxy keeps for a while.
        let served = Runtime::new()?.block_on(async {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let mut builder = h2::server::Builder::new();
            if announces {
                builder.enable_connect_protocol();
            }
            // The proxy may close a connection that it does not need.
            let Ok(mut connection) = builder.handshake(stream).await else { return Ok(()) };
            while let Some(request) = connection.accept().await {
                let Ok((request, respond)) = request else { break };
                answer(request, respond, &tunnel)?;
            }
            Ok::<_, anyhow::Error>(())
        });
        served.map_err(|error| std::io::Error::other(format!("{error:#}")))
    })
}

fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    tunnel: &impl Fn(SendStream<Bytes>, RecvStream) -> tokio::task::JoinHandle<()>,
) -> Result<()> {
    if request.method() != Method::CONNECT {
        let mut body = respond.send_response(Response::new(()), false)?;
        return Ok(body.send_data(request.uri().path().to_owned().into(), true)?);
    }
    let protocol = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    ensure!(protocol.as_deref() == Some("websocket"), "the protocol is {protocol:?}");
    ensure!(request.uri().path() == "/chat", "the target is {}", request.uri());
    ensure!(request.headers()["sec-websocket-version"] == "13", "{:?}", request.headers());
    let response = Response::builder().header("sec-websocket-protocol", "echo").body(())?;
    tunnel(respond.send_response(response, false)?, request.into_body());
    Ok(())
}

/// A client's connection, on which the server has announced what it can.
async fn client(stream: TcpStream) -> Result<h2::client::SendRequest<Bytes>> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let sender = sender.ready().await?;
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(sender)
}

type Tunnel = (Response<RecvStream>, SendStream<Bytes>);

/// Asks for a tunnel.
async fn connect(client: &mut h2::client::SendRequest<Bytes>, host: &str) -> Result<Tunnel> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{host}/chat"))
        .header("sec-websocket-version", "13")
        .body(())?;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, sending) = client.send_request(request, false)?;
    Ok((response.await.context("the answer to CONNECT")?, sending))
}

/// An ordinary request on the same connection.
async fn still_works(client: &mut h2::client::SendRequest<Bytes>, host: &str) -> Result<()> {
    let request = Request::get(format!("http://{host}/after")).body(())?;
    let response = client.send_request(request, true)?.0.await.context("the next request")?;
    ensure!(response.status() == 200, "the next request got {}", response.status());
    let body = read(&mut response.into_body(), usize::MAX).await?;
    ensure!(body == b"/after", "the next request got {:?}", String::from_utf8_lossy(&body));
    Ok(())
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.context("the stream has ended")??;
        stream.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}

/// Reads `most` bytes, or to the end.
async fn read(stream: &mut RecvStream, most: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < most {
        let Some(part) = stream.data().await else { break };
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// Sends everything back, and after the client's end says goodbye.
async fn echo(mut sending: SendStream<Bytes>, mut receiving: RecvStream) -> Result<()> {
    send(&mut sending, Bytes::from_static(b"hi")).await?;
    while let Some(part) = receiving.data().await {
        let part = part?;
        receiving.flow_control().release_capacity(part.len())?;
        send(&mut sending, part).await?;
    }
    send(&mut sending, Bytes::from_static(b"bye")).await?;
    Ok(sending.send_data(Bytes::new(), true)?)
}

fn open(path: &Path<'_>, server: &Server) -> Result<TcpStream> {
    Ok(path.client.connect(path.service(server.port()))?)
}

fn both_ways(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let server = path.serve(server(true, |sending, receiving| {
            tokio::spawn(async move {
                // The client sees what is missing.
                let _ = echo(sending, receiving).await;
            })
        }))?;
        let host = path.host(server.port());
        run(async {
            let mut client = client(open(path, &server)?).await?;
            let (response, mut sending) = connect(&mut client, &host).await?;
            ensure!(response.status() == 200, "the client got {}", response.status());
            ensure!(response.headers()["sec-websocket-protocol"] == "echo", "{:?}", response.headers());
            let mut receiving = response.into_body();
            ensure!(read(&mut receiving, 2).await? == b"hi", "the greeting is missing");
            let sent: Bytes = (0..LENGTH).map(|n| (n % 251) as u8).collect();
            let (writing, received) =
                tokio::join!(send(&mut sending, sent.clone()), read(&mut receiving, LENGTH));
            writing?;
            ensure!(received? == sent, "the echo differs");
            still_works(&mut client, &host).await?;
            sending.send_data(Bytes::new(), true)?;
            let last = read(&mut receiving, usize::MAX).await?;
            ensure!(last == b"bye", "after its own end, the client received {} bytes", last.len());
            still_works(&mut client, &host).await
        })?;
        ensure!(server.failures().is_empty(), "{:?}", server.failures());
        Ok(())
    })
}

fn reset(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let (ended, mut end) = mpsc::unbounded_channel();
        let ended = Mutex::new(ended);
        let server = path.serve(server(true, move |mut sending, mut receiving| {
            let ended = ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            tokio::spawn(async move {
                let _ = send(&mut sending, Bytes::from_static(b"hi")).await;
                let _ = read(&mut receiving, usize::MAX).await;
                let _ = ended.send(());
            })
        }))?;
        let host = path.host(server.port());
        run(async {
            let mut client = client(open(path, &server)?).await?;
            let (response, mut sending) = connect(&mut client, &host).await?;
            ensure!(read(&mut response.into_body(), 2).await? == b"hi", "the greeting is missing");
            sending.send_reset(h2::Reason::CANCEL);
            end.recv().await.context("the server's side goes on")?;
            still_works(&mut client, &host).await
        })
    })
}

fn broken(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL] {
            let server = path.serve(server(true, move |mut sending, mut receiving| {
                tokio::spawn(async move {
                    let _ = send(&mut sending, Bytes::from_static(b"hi")).await;
                    let _ = read(&mut receiving, 2).await;
                    sending.send_reset(reason);
                })
            }))?;
            let host = path.host(server.port());
            run(async {
                let mut client = client(open(path, &server)?).await?;
                let (response, mut sending) = connect(&mut client, &host).await?;
                let mut receiving = response.into_body();
                ensure!(read(&mut receiving, 2).await? == b"hi", "the greeting is missing");
                sending.send_data(Bytes::from_static(b"ho"), false)?;
                let rest = read(&mut receiving, usize::MAX).await;
                ensure!(rest.is_err(), "after {reason:?} the client received an end in order");
                still_works(&mut client, &host).await
            })?;
        }
        Ok(())
    })
}

fn not_announced(mesh: &Mesh) -> Result<()> {
    // Without the mesh, h2's own client would not know it either.
    each_meshed_path(mesh, |path| {
        let server = path.serve(server(false, |_, _| tokio::spawn(async {})))?;
        let host = path.host(server.port());
        run(async {
            let mut client = client(open(path, &server)?).await?;
            // On a new connection to the server, and on one that exists.
            for _ in 0..2 {
                let (response, _sending) = connect(&mut client, &host).await?;
                if response.status() != 501 {
                    bail!("the client got {}", response.status());
                }
                still_works(&mut client, &host).await?;
            }
            Ok(())
        })?;
        ensure!(server.failures().is_empty(), "{:?}", server.failures());
        Ok(())
    })
}
