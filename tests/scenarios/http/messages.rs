//! Requests and responses of every form that HTTP/1 has.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Framing, Head, Message, To, curl},
    mesh::Mesh,
    suite::Area,
};

use super::paths::{DATE, cluster, each_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_messages", cluster)
        .scenario(
            "keep_alive",
            "curl sends twenty requests on one connection, and the origin has at most three.",
            keep_alive,
        )
        .scenario(
            "chunked_with_trailers",
            "A chunked request and a chunked response keep their bodies and their trailers.",
            chunked_with_trailers,
        )
        .scenario(
            "unannounced_trailers",
            "Trailers of a response arrive although nobody has announced them or asked for them.",
            unannounced_trailers,
        )
        .scenario(
            "without_body",
            "Responses to HEAD, 204 and 304 have no body, and the connection is usable after each.",
            without_body,
        )
        .scenario(
            "old_client",
            "A client of HTTP/1.0 receives a whole body that ends with the connection, and no chunks.",
            old_client,
        )
        .scenario("old_server", "A client of HTTP/1.1 receives a server's HTTP/1.0 response.", old_server)
        .scenario(
            "until_close",
            "A response without a length is complete when the origin closes.",
            until_close,
        )
        .scenario("pipelined", "Five requests sent at once are answered in their order.", pipelined)
        .scenario(
            "stale_connections",
            "An origin that closes its idle connections without a word makes no request fail.",
            stale_connections,
        )
}

fn keep_alive(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 20;
    each_path(mesh, |path| {
        let origin = path.answering(|request| ok(request.head.target()))?;
        let url = path.url(origin.port(), "/[1-20]");
        let said = curl(&path.client, &["--write-out", " %{num_connects}\n", &url])?.text()?;
        let lines: Vec<_> = said.lines().collect();
        let expected =
            (1..=REQUESTS).map(|number| format!("/{number} {}", if number == 1 { "1" } else { "0" }));
        ensure!(lines.iter().copied().eq(expected), "targets and new connections: {lines:?}");
        ensure!(origin.requests().len() == REQUESTS, "{} requests arrived", origin.requests().len());
        let connections = origin.connections();
        ensure!(connections <= 3, "the origin accepted {connections} connections");
        origin.no_failures()
    })
}

fn chunked_with_trailers(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|_| {
            format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Answer-Sum\r\n\r\n\
                 3\r\none\r\n10\r\n0123456789abcdef\r\n0\r\nX-Answer-Sum: 42\r\n\r\n"
            )
            .into()
        })?;
        let mut client = path.connect(&origin)?;
        // Twice, as the first trailers must not disturb the second request.
        for _ in 0..2 {
            client.send(format!(
                "POST /sums HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
                 Trailer: X-Sum\r\n\r\n5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\nX-Sum: 12\r\n\r\n",
                path.host(origin.port())
            ))?;
            let response = Message::response(&mut client, To::Other)?;
            ensure!(response.text() == "one0123456789abcdef", "the client received {response:?}");
            let expected = [("x-answer-sum", "42")];
            ensure!(lower(&response.trailers) == lower(&expected), "trailers {:?}", response.trailers);
        }
        let requests = origin.requests();
        ensure!(requests.len() == 2, "{} requests arrived", requests.len());
        for request in requests {
            ensure!(request.text() == "hello, world", "the origin received {request:?}");
            ensure!(lower(&request.trailers) == lower(&[("x-sum", "12")]), "trailers {:?}", request.trailers);
        }
        origin.no_failures()
    })
}

fn unannounced_trailers(mesh: &Mesh) -> Result<()> {
    const HEAD: &str = "Transfer-Encoding: chunked\r\n\r\n";
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            let rest = match request.head.target() {
                "/none" => "4\r\nnone\r\n0\r\n\r\n".to_owned(),
                // A body that looks like the end of one.
                target => {
                    format!("5\r\n0\r\n\r\n\r\n0\r\nX-Sum: {target}\r\nX-More: 1\r\nX-More: 2\r\n\r\n")
                }
            };
            format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\n{HEAD}{rest}").into()
        })?;
        let mut client = path.connect(&origin)?;
        let host = path.host(origin.port());
        for target in ["/a", "/none", "/b", "/c", "/none"] {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
            let response = Message::response(&mut client, To::Other)?;
            let expected = [("x-sum", target), ("x-more", "1"), ("x-more", "2")];
            let (body, trailers) = match target {
                "/none" => ("none", &expected[..0]),
                _ => ("0\r\n\r\n", &expected[..]),
            };
            ensure!(response.text() == body, "the client received {response:?}");
            ensure!(lower(&response.trailers) == lower(trailers), "{target}: {:?}", response.trailers);
        }
        // Pipelined, they stay with their response.
        let pipelined =
            ["/x", "/none", "/y"].map(|target| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.send(pipelined.concat())?;
        for trailers in [3, 0, 3] {
            let response = Message::response(&mut client, To::Other)?;
            ensure!(response.trailers.len() == trailers, "{:?}", response.trailers);
        }
        ensure!(origin.connections() <= 2, "{} connections", origin.connections());
        origin.no_failures()
    })
}

/// Fields whose names are compared without regard to their case.
fn lower<T: AsRef<str>>(fields: &[(T, T)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.as_ref().to_lowercase(), value.as_ref().to_owned())).collect()
}

fn without_body(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            let head = match request.head.target() {
                "/head" => "200 OK\r\nContent-Length: 1234\r\nETag: \"h\"",
                "/head-chunked" => "200 OK\r\nTransfer-Encoding: chunked",
                "/204" => "204 No Content\r\nETag: \"n\"",
                "/304" => "304 Not Modified\r\nETag: \"m\"",
                _ => "200 OK\r\nContent-Length: 0",
            };
            format!("HTTP/1.1 {head}\r\nDate: {DATE}\r\n\r\n").into()
        })?;
        let mut client = path.connect(&origin)?;
        let expectations = [
            ("HEAD", "/head", 200, Some(("content-length", "1234"))),
            ("HEAD", "/head-chunked", 200, None),
            ("GET", "/204", 204, Some(("etag", "\"n\""))),
            ("GET", "/304", 304, Some(("etag", "\"m\""))),
            ("GET", "/empty", 200, Some(("content-length", "0"))),
        ];
        for (method, target, status, field) in expectations {
            client
                .send(format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
            let to = if method == "HEAD" { To::Head } else { To::Other };
            let Message { head, body, .. } = Message::response(&mut client, to)?;
            ensure!(head.status() == status && body.is_empty(), "{target}: {head:?} {body:?}");
            if let Some((name, value)) = field {
                ensure!(head.values(name) == [value], "{target}: {head:?}");
            }
            if status == 204 {
                ensure!(head.values("content-length").is_empty(), "204 with a length: {head:?}");
            }
        }
        origin.no_failures()
    })
}

fn old_client(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            let Some(request) = session.request()? else { return Ok(()) };
            let body = format!("{} of {}", request.head.target(), request.head.values("host").len());
            let head = format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nConnection: close\r\n\r\n");
            session.wire.send(format!("{head}{body}, in two "))?;
            thread::sleep(Duration::from_millis(50));
            session.wire.send("parts")?;
            Ok(session.wire.close()?)
        })?;
        // Without Host, which HTTP/1.0 does not need, and with it.
        for (host, hosts) in [(String::new(), 0), (format!("Host: {}\r\n", path.host(origin.port())), 1)] {
            let mut client = path.connect(&origin)?;
            client.send(format!("GET /old HTTP/1.0\r\n{host}\r\n"))?;
            let head = Head::read(&mut client)?;
            ensure!(head.status() == 200, "the client received {head:?}");
            let framing = Framing::of(&head, To::Other)?;
            ensure!(framing == Framing::UntilClose, "HTTP/1.0 knows no {framing:?}");
            let body = String::from_utf8(client.all()?)?;
            // A proxy that turns HTTP/1.0 into HTTP/1.1 has to add Host.
            let with_host = format!("/old of {}, in two parts", hosts.max(1));
            ensure!(
                body == format!("/old of {hosts}, in two parts") || body == with_host,
                "the body {body:?}"
            );
        }
        origin.no_failures()
    })
}

fn old_server(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            let length = if request.head.target() == "/length" { "Content-Length: 3\r\n" } else { "" };
            format!("HTTP/1.0 200 OK\r\nDate: {DATE}\r\n{length}Connection: close\r\n\r\nold").into()
        })?;
        for target in ["/length", "/no-length"] {
            let body = curl(&path.client, &[&path.url(origin.port(), target)])?.text()?;
            ensure!(body == "old", "{target}: the client received {body:?}");
        }
        let requests = origin.requests();
        ensure!(requests.len() == 2, "{} requests arrived", requests.len());
        Ok(())
    })
}

fn until_close(mesh: &Mesh) -> Result<()> {
    const LENGTH: usize = 300_000;
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            if session.request()?.is_some() {
                session.wire.send(format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\n\r\n"))?;
                session.wire.send(vec![b'x'; LENGTH])?;
                session.wire.close()?;
            }
            Ok(())
        })?;
        let body = curl(&path.client, &[&path.url(origin.port(), "/")])?.body()?;
        ensure!(body == vec![b'x'; LENGTH], "{} of {LENGTH} bytes were received", body.len());
        origin.no_failures()
    })
}

fn pipelined(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            // The first answer is the slowest.
            if request.head.target() == "/1" {
                thread::sleep(Duration::from_millis(300));
            }
            ok([request.head.target().as_bytes(), b" ", &request.body].concat())
        })?;
        let host = path.host(origin.port());
        let requests: String = (1..=5)
            .map(|number| match number {
                3 => format!("POST /3 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nbody"),
                _ => format!("GET /{number} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            })
            .collect();
        let mut client = path.connect(&origin)?;
        client.send(requests)?;
        for expected in ["/1 ", "/2 ", "/3 body", "/4 ", "/5 "] {
            let answer = Message::response(&mut client, To::Other)?.text();
            ensure!(answer == expected, "{answer:?} instead of {expected:?}");
        }
        origin.no_failures()
    })
}

fn stale_connections(mesh: &Mesh) -> Result<()> {
    const REQUESTS: u64 = 40;
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            if session.request()?.is_some() {
                session.wire.send(ok("good"))?;
                thread::sleep(Duration::from_millis(30));
                session.wire.close()?;
            }
            Ok(())
        })?;
        let url = path.url(origin.port(), "/");
        for number in 0..REQUESTS {
            // Some requests meet a connection that is just being closed.
            thread::sleep(Duration::from_millis(number % 20));
            let body = curl(&path.client, &[&url])?.text()?;
            ensure!(body == "good", "request {number} received {body:?}");
        }
        origin.no_failures()
    })
}
