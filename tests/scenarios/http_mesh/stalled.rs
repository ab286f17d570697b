//! Streams of HTTP/2 whose bytes nobody reads: they stop no other stream, and a budget bounds what they hold.

use std::{io::Write, net::TcpStream};

use anyhow::{Result, bail, ensure};
use weft_tests::{
    attack::http2::{self as raw, Frame, Frames, flag, kind, literal},
    http2::{Answer, get},
    mesh::{Description, Mesh},
    suite::Area,
    wait,
};

use super::ways::{Way, cluster, each_way};

/// The window of one stream.
const WINDOW: u32 = 65_535;
const STALLED: u32 = 100;

pub(crate) fn area() -> Area {
    Area::new("http_stalled", cluster)
        .scenario(
            "responses",
            "With 100 streams whose client reads nothing, another stream of the same connection is answered, with a body.",
            responses,
        )
        .scenario(
            "requests",
            "With 100 uploads that an application does not read, another request of the same client is answered.",
            requests,
        )
        .alone(
            "budget_of_responses",
            "Above the budget of unread bytes, streams that nobody reads are reset and counted; other streams and \
             clients are answered.",
            small_budget,
            budget_of_responses,
        )
        .alone(
            "budget_of_requests",
            "Above the budget of unread bytes, uploads that the application does not read are reset and counted.",
            small_budget,
            budget_of_requests,
        )
}

/// A budget of 4 MiB.
fn small_budget() -> Description {
    cluster().proxy_arg("--max-unread=4194304")
}

/// The identifier of the client's stream number `n`.
const fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A client whose streams begin without a window.
fn stalled_client(way: &Way<'_>, port: u16, streams: u32) -> Result<TcpStream> {
    let mut client = way.client.connect(way.mesh.service(way.server.name()).at(port))?;
    let requests =
        (0..streams).fold(Frames::client(0), |frames, n| frames.request(flag::END_STREAM, stream(n), &[]));
    client.write_all(requests.bytes())?;
    Ok(client)
}

/// Reads frames until `is_enough`, and answers what has to be answered.
fn read(client: &TcpStream, mut is_enough: impl FnMut(&Frame) -> bool) -> Result<()> {
    let mut out = client;
    while let Some(frame) = Frame::read(client)? {
        if matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.flags & flag::ACK == 0 {
            let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
            out.write_all(Frames::default().frame(frame.kind, flag::ACK, 0, payload).bytes())?;
        }
        if is_enough(&frame) {
            return Ok(());
        }
    }
    bail!("the connection has ended")
}

/// Sends one more request, with a window, and waits until the window is full.
fn is_answered(mut client: &TcpStream, n: u32) -> Result<()> {
    let request = Frames::default().request(flag::END_STREAM, stream(n), &[]);
    client.write_all(request.frame(kind::WINDOW_UPDATE, 0, stream(n), &WINDOW.to_be_bytes()).bytes())?;
    let mut received = 0;
    read(client, |frame| {
        if frame.kind == kind::DATA && frame.stream == stream(n) {
            received += frame.payload.len();
        }
        received >= WINDOW as usize
    })
}

fn responses(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|_| Answer::http(200, vec![b'a'; 1 << 20]))?;
        let watch = mesh.proxy("a").watch()?;
        let client = stalled_client(way, server.port(), STALLED)?;
        let all = f64::from(STALLED * WINDOW);
        watch.eventually(|now| {
            let labels = [("direction", "outbound"), ("peer", "dst"), ("pod", "client")];
            let read = now.value("tcp_read_bytes_total", &labels);
            ensure!(read >= all, "{read} bytes of the stalled responses have arrived, not {all}");
            Ok(())
        })?;
        is_answered(&client, STALLED)
    })
}

/// Uploads of 48 KiB each, which are not complete.
fn uploads(way: &Way<'_>, port: u16) -> Result<TcpStream> {
    let mut client = way.client.connect(way.mesh.service(way.server.name()).at(port))?;
    client.write_all(Frames::client(WINDOW).bytes())?;
    for n in 0..STALLED {
        let mut upload = Frames::default().request(0, stream(n), &literal("x-upload", b"1"));
        for _ in 0..3 {
            upload = upload.frame(kind::DATA, 0, stream(n), &[b'a'; 16_384]);
        }
        client.write_all(upload.bytes())?;
    }
    Ok(client)
}

fn requests(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        // It never opens its window again.
        let server = way.serve(raw::server(raw::ok))?;
        let mut client = uploads(way, server.port())?;
        client.write_all(Frames::default().request(flag::END_STREAM, stream(STALLED), &[]).bytes())?;
        read(&client, |frame| frame.kind == kind::HEADERS && frame.stream == stream(STALLED))
    })
}

/// Opens a client and waits until streams of it were reset; checks that this is counted and logged.
fn are_reset(way: &Way<'_>, at_least: u32, open: impl FnOnce() -> Result<TcpStream>) -> Result<TcpStream> {
    // The proxies of both ends have a budget: either may be the first to reset.
    let source = way.mesh.proxy("a").watch()?;
    let destination = way.mesh.proxy(way.node).watch()?;
    let client = open()?;
    let mut reset = 0;
    read(&client, |frame| {
        reset += u32::from(frame.kind == kind::RST_STREAM);
        reset >= at_least
    })?;
    wait::until_ok("the resets are counted", || {
        let error = [("error", "unread")];
        let counted = source.now()?.value("outbound_http_errors_total", &error)
            + destination.now()?.value("inbound_http_errors_total", &error);
        ensure!(counted >= f64::from(at_least), "{counted} resets are counted");
        Ok(())
    })?;
    let logged = |node: &str| way.mesh.proxy(node).log().text().contains("reason=\"unread\"");
    ensure!(logged("a") || logged(way.node), "no log line says so");
    Ok(client)
}

fn budget_of_responses(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|_| Answer::http(200, vec![b'a'; 1 << 20]))?;
        // 64 KiB each, of which 4 MiB may stay.
        let client = are_reset(way, STALLED - 64, || stalled_client(way, server.port(), STALLED))?;
        is_answered(&client, STALLED)?;
        let other = way.connect2(server.port())?.send(get("other", "/"))?;
        ensure!(other.body.len() == 1 << 20, "another connection received {} bytes", other.body.len());
        Ok(())
    })
}

fn budget_of_requests(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.serve(raw::server(raw::ok))?;
        let _client = are_reset(way, 10, || uploads(way, server.port()))?;
        let other = way.connect2(server.port())?.send(get("other", "/"))?;
        ensure!(other.status == 200, "another connection received {}", other.status);
        Ok(())
    })
}
