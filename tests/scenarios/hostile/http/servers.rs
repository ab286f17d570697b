//! Applications that attack their clients' proxies.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    attack::http2::{self, Frame, Frames, LAST_REMEMBERED, flag, kind, literal, remembered},
    backends::{Accepted, Behaviour},
    mesh::Mesh,
    suite::Area,
};

use super::{cluster, survive};

pub(super) fn area() -> Area {
    Area::new("http_hostile_servers", cluster)
        .scenario(
            "response_bombs",
            "Responses with heads, trailers, interim responses or chunk extensions without end are cut off.",
            response_bombs,
        )
        .within(Duration::from_secs(120))
        .scenario(
            "http2_response_bombs",
            "The same for HTTP/2: heads that are too large when decoded, and CONTINUATION without end.",
            http2_response_bombs,
        )
}

/// What an application sends for a request of a stream.
type Answer = Box<dyn Fn(u32) -> Frames + Send + Sync>;

/// Requests per attack.
const TIMES: usize = 10;

fn response_bombs(mesh: &Mesh) -> Result<()> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(1000));
    // What is sent first, and then without end; whether the client may get the head of an answer.
    let bombs = [
        ("a head without end", ok.to_owned(), "X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n".to_owned(), false),
        ("a field without end", format!("{ok}X: "), "y".repeat(1000), false),
        ("chunk extensions without end", chunked.clone(), extensions, true),
        ("trailers without end", format!("{chunked}0\r\n"), "X-Trailer: bomb\r\n".to_owned(), true),
        (
            "interim responses without end",
            String::new(),
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_owned(),
            false,
        ),
    ];
    for (what, first, then, answered) in bombs {
        let server = mesh.pod("victim").serve(mesh.unused_port(), endless(&first, &then))?;
        let target = mesh.pod("victim").at(server.port());
        let watch = mesh.proxy("b").watch()?;
        survive(mesh, what, 40, || {
            for _ in 0..TIMES {
                let mut client = mesh.pod("bystander").connect(target)?;
                client.set_read_timeout(Some(Duration::from_secs(1)))?;
                client.write_all(b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n")?;
                let mut answer = Vec::new();
                let ended = client.take(4 << 20).read_to_end(&mut answer);
                let text = String::from_utf8_lossy(&answer);
                ensure!(answered || text.contains("HTTP/1.1 502"), "{what}: {ended:?} {text}");
                ensure!(answer.len() < 1 << 20, "{what}: {} bytes", answer.len());
            }
            Ok(())
        })?;
        if !answered {
            watch.expect_some(
                "inbound_http_errors_total",
                &[("pod", "victim"), ("error", "protocol error")],
            )?;
        }
    }
    Ok(())
}

/// Reads a request, then sends without end.
fn endless(first: &str, then: &str) -> Behaviour {
    let (first, then) = (first.to_owned(), then.repeat(64));
    Arc::new(move |accepted: &Accepted| {
        let mut stream = &accepted.stream;
        // The proxy sends a request in one piece.
        let _request = stream.read(&mut [0; 4096])?;
        let mut sent = stream.write_all(first.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(then.as_bytes());
        }
        Ok(())
    })
}

fn http2_response_bombs(mesh: &Mesh) -> Result<()> {
    let table = [vec![0x88], remembered("x-bomb", &[b'a'; 4_000]), vec![LAST_REMEMBERED; 10_000]].concat();
    let large = [vec![0x88], literal("x-bomb", &vec![b'a'; 1 << 20])].concat();
    let trailers = literal("x-bomb", &vec![b'a'; 1 << 20]);
    let answers: [(&str, Answer); 4] = [
        (
            "a table bomb of HPACK",
            Box::new(move |stream| Frames::default().block(flag::END_STREAM, stream, &table)),
        ),
        (
            "a header of 1 MB",
            Box::new(move |stream| Frames::default().block(flag::END_STREAM, stream, &large)),
        ),
        (
            "trailers of 1 MB",
            Box::new(move |stream| {
                Frames::default().block(0, stream, &[0x88]).block(flag::END_STREAM, stream, &trailers)
            }),
        ),
        (
            "CONTINUATION without end",
            Box::new(|stream| {
                let first = Frames::default().frame(kind::HEADERS, 0, stream, &[0x88]);
                (0..5_000).fold(first, |all, _| all.frame(kind::CONTINUATION, 0, stream, &[]))
            }),
        ),
    ];
    for (what, answer) in answers {
        let server = mesh.pod("victim").serve(mesh.unused_port(), http2::server(answer))?;
        let target = mesh.pod("victim").at(server.port());
        survive(mesh, what, 40, || {
            for _ in 0..TIMES {
                let mut client = mesh.pod("bystander").connect(target)?;
                let request = Frames::client(65_535).request(flag::END_STREAM, 1, &[]);
                client.write_all(request.bytes())?;
                ends(&client).with_context(|| what.to_owned())?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Reads until the stream or the connection has ended.
fn ends(client: &std::net::TcpStream) -> Result<()> {
    let mut reader = std::io::BufReader::new(client);
    let mut bytes = 0;
    while let Some(frame) = Frame::read(&mut reader)? {
        bytes += frame.payload.len();
        ensure!(bytes < 512 << 10, "the client receives {bytes} bytes");
        let is_end = match frame.kind {
            kind::RST_STREAM | kind::GOAWAY => true,
            kind::HEADERS | kind::DATA => frame.flags & flag::END_STREAM != 0,
            _ => false,
        };
        if is_end {
            return Ok(());
        }
    }
    Ok(())
}
