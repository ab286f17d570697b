//! HTTP is recognized by a client's first bytes, however they arrive, and nothing else is mistaken for it.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use weft_tests::{
    backends,
    http::{Message, To},
    http2::{self, Answer},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::{
    opaque,
    ways::{ask, cluster, each_way, ok, only_l5d},
};

pub(crate) fn area() -> Area {
    Area::new("http_detection", cluster)
        .scenario(
            "split_request_line",
            "A request line that arrives in two parts, cut at any place, is recognized, also with a second between the \
             parts.",
            split_request_line,
        )
        .scenario(
            "split_preface",
            "The preface of HTTP/2 that arrives in two parts, cut at any place, is recognized, also with a second \
             between the parts.",
            split_preface,
        )
        .scenario(
            "silent_at_first",
            "A client that is silent for two seconds and then speaks HTTP is served, and the server sees one connection.",
            silent_at_first,
        )
        .scenario(
            "server_first",
            "A server that speaks first is heard at once, also on a port that has carried HTTP before.",
            server_first,
        )
        .scenario(
            "reset_at_first",
            "A server that resets a connection on which neither side has sent a byte resets it at the client, meshed or \
             not: no end in order.",
            reset_at_first,
        )
        .scenario(
            "settings_first",
            "A server of HTTP/2 that sends its SETTINGS at once does not keep a slower client's HTTP from being \
             recognized: a forged l5d-client-id does not arrive.",
            settings_first,
        )
        .scenario(
            "one_connection",
            "For each connection of a client, the application sees one, whatever the client sends and when.",
            one_connection,
        )
        .scenario(
            "unknown_method",
            "A request with an unknown lower-case method is HTTP: its application receives the client's identity.",
            unknown_method,
        )
        .scenario(
            "short_words",
            "Words of other protocols that could begin a request are passed on within a second, and what follows is \
             not interpreted.",
            short_words,
        )
        .scenario(
            "at_the_destination",
            "The proxy of the destination recognizes HTTP of unmeshed clients in the same way.",
            at_the_destination,
        )
        .alone(
            "opaque",
            "A port that is opaque by annotation, appProtocol or Server is not interpreted: a forged l5d-client-id \
             arrives unchanged, and no request is counted.",
            opaque::description,
            opaque::nothing_is_interpreted,
        )
        .alone(
            "declared",
            "A port whose Server declares HTTP/1 or HTTP/2 carries it, and requests are counted.",
            opaque::description,
            opaque::declared,
        )
}

const SECOND: Duration = Duration::from_secs(1);

fn split_request_line(mesh: &Mesh) -> Result<()> {
    const REQUEST: &str = "GET /split HTTP/1.1\r\nHost: origin.test\r\nl5d-client-id: forged\r\n\r\n";
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let own = way.client.identity();
        let proxy = mesh.proxy("a").watch()?;
        let cuts: Vec<_> = (1..24).map(|at| (at, 5)).chain([1, 2, 5, 14, 20].map(|at| (at, 1000))).collect();
        for (at, pause) in &cuts {
            let mut client = way.connect(origin.port())?;
            client.send(&REQUEST[..*at])?;
            thread::sleep(Duration::from_millis(*pause));
            client.send(&REQUEST[*at..])?;
            let response = Message::response(&mut client, To::Other)
                .with_context(|| format!("cut after {at} bytes for {pause} ms"))?;
            ensure!(response.text() == "/split", "{response:?}");
        }
        for request in origin.requests() {
            only_l5d(&request.head, &[("l5d-client-id", &own)])?;
        }
        let found = [("pod", "client"), ("result", "http/1")];
        proxy.expect("outbound_tcp_detect_http_results_total", &found, cuts.len() as f64)?;
        origin.no_failures()
    })
}

fn split_preface(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|request| Answer::http(200, request.header("l5d-client-id")))?;
        let own = way.client.identity();
        let proxy = mesh.proxy("a").watch()?;
        let cuts: Vec<_> =
            (1..26).step_by(2).map(|at| (at, 5)).chain([3, 10, 16, 23].map(|at| (at, 1000))).collect();
        for (at, pause) in &cuts {
            let target = mesh.service(way.server.name()).at(server.port());
            let stream = in_two_parts(way.client.connect(target)?, *at, Duration::from_millis(*pause))?;
            let response = http2::Client::over_unix(stream)?
                .send(http2::get("origin.test", "/"))
                .with_context(|| format!("cut after {at} bytes for {pause} ms"))?;
            ensure!(response.status == 200 && response.text() == own, "{response:?}");
        }
        let found = [("pod", "client"), ("result", "http/2")];
        proxy.expect("outbound_tcp_detect_http_results_total", &found, cuts.len() as f64)
    })
}

/// A stream whose first bytes are sent on, and the others after a pause.
fn in_two_parts(far: TcpStream, at: usize, pause: Duration) -> Result<UnixStream> {
    let (near, inner) = UnixStream::pair()?;
    let (mut from, mut to) = (inner.try_clone()?, far.try_clone()?);
    thread::spawn(move || -> io::Result<()> {
        let mut first = vec![0; at];
        from.read_exact(&mut first)?;
        to.write_all(&first)?;
        thread::sleep(pause);
        io::copy(&mut from, &mut to)?;
        to.shutdown(Shutdown::Write)
    });
    thread::spawn(move || -> io::Result<()> {
        io::copy(&mut &far, &mut &inner)?;
        inner.shutdown(Shutdown::Write)
    });
    Ok(near)
}

fn silent_at_first(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let own = way.client.identity();
        let origin = way.answering(|request| ok(request.head.values("l5d-client-id").join(",")))?;
        let mut client = way.connect(origin.port())?;
        thread::sleep(2 * SECOND);
        for _ in 0..3 {
            ensure!(ask(&mut client, "/", "")?.text() == own, "the request was not interpreted");
        }
        ensure!(origin.connections() == 1, "the server saw {} connections", origin.connections());

        let server = way.http2(|request| Answer::http(200, request.header("l5d-client-id")))?;
        let stream = way.client.connect(mesh.service(way.server.name()).at(server.port()))?;
        thread::sleep(2 * SECOND);
        let response = http2::Client::over(stream)?.send(http2::get("origin.test", "/"))?;
        ensure!(response.text() == own, "{response:?}");
        ensure!(server.peers().len() == 1, "the server saw {} connections", server.peers().len());
        origin.no_failures()
    })
}

fn server_first(mesh: &Mesh) -> Result<()> {
    const BANNER: &str = "220 at your service\r\n";
    each_way(mesh, |way| {
        let port = mesh.unused_port();
        for round in 0..4 {
            if round == 2 {
                // The hint that this port carries HTTP is wrong afterwards.
                let origin = weft_tests::http::Origin::answering(&way.server, port, |_| ok("x"))?;
                ask(&mut way.connect(port)?, "/", "")?;
                origin.no_failures()?;
                continue;
            }
            let server = way.server.serve(port, backends::banner(BANNER))?;
            let begun = Instant::now();
            let mut client = way.connect(port)?;
            ensure!(client.array::<{ BANNER.len() }>()? == BANNER.as_bytes(), "another greeting");
            let after = begun.elapsed();
            println!("{} round {round}: the greeting came after {after:?}", way.server.name());
            ensure!(after < wait::here(SECOND), "the greeting came after {after:?}");
            client.send("GET / HTTP/1.1\r\nl5d-client-id: mine\r\n\r\n")?;
            client.half_close()?;
            let echo = client.all()?;
            ensure!(echo.ends_with(b"l5d-client-id: mine\r\n\r\n"), "{:?}", String::from_utf8_lossy(&echo));
            server.no_failures()?;
        }
        Ok(())
    })
}

fn reset_at_first(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        for client in ["client", "plain-client"] {
            let server = way.serve(Arc::new(|accepted| {
                // Both sides wait for each other's first byte meanwhile.
                thread::sleep(Duration::from_millis(100));
                SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))
            }))?;
            let mut stream = mesh.pod(client).connect(way.server.at(server.port()))?;
            let ended = stream.read(&mut [0]);
            let is_reset = ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            ensure!(is_reset, "{client} sees {ended:?}");
        }
        Ok(())
    })
}

fn settings_first(mesh: &Mesh) -> Result<()> {
    const PAUSES: [u64; 3] = [50, 500, 2000];
    each_way(mesh, |way| {
        let server = http2::Server::eager(way.server.netns(), mesh.unused_port(), |request| {
            Answer::http(200, request.header("l5d-client-id"))
        })?;
        let proxy = mesh.proxy(way.node).watch()?;
        for client in [&way.client, &mesh.pod("plain-client")] {
            let own = if client.name() == "client" { client.identity() } else { String::new() };
            for pause in PAUSES {
                let stream = client.connect(mesh.service(way.server.name()).at(server.port()))?;
                thread::sleep(Duration::from_millis(pause));
                let mut request = http2::get("origin.test", "/");
                request.headers_mut().insert("l5d-client-id", "forged".parse()?);
                let response = http2::Client::over(stream)?.send(request)?;
                ensure!(
                    response.text() == own,
                    "{} after {pause} ms: the application received {:?}",
                    client.name(),
                    response.text()
                );
            }
        }
        let counted = [("direction", "inbound"), ("pod", way.server.name())];
        proxy.expect("request_total", &counted, 2.0 * PAUSES.len() as f64)
    })
}

fn one_connection(mesh: &Mesh) -> Result<()> {
    const ROUNDS: u64 = 40;
    each_way(mesh, |way| {
        let server = way.serve(backends::echo())?;
        for round in 0..ROUNDS {
            for client in [&way.client, &mesh.pod("plain-client")] {
                let mut client = way.connect_from(client, server.port())?;
                thread::sleep(Duration::from_micros(100 * round));
                client.send("no HTTP\n")?;
                ensure!(&client.array()? == b"no HTTP\n", "another echo");
                client.close()?;
            }
        }
        server.no_failures()?;
        ensure!(server.accepted() == 2 * ROUNDS, "the application saw {} connections", server.accepted());
        Ok(())
    })
}

fn unknown_method(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.method()))?;
        let mut client = way.connect(origin.port())?;
        client.send("frobnicate /x HTTP/1.1\r\nHost: origin.test\r\nl5d-client-id: forged\r\n\r\n")?;
        ensure!(Message::response(&mut client, To::Other)?.text() == "frobnicate", "another method");
        only_l5d(&origin.only_request()?.head, &[("l5d-client-id", &way.client.identity())])?;
        origin.no_failures()
    })
}

/// The beginnings of conversations in which the client waits for an answer.
const WORDS: [&str; 6] = ["PING", "stats", "QUIT\r\n", "hello world", "PING\r\n", "\0\0\0\x04PING"];

fn short_words(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.serve(backends::echo())?;
        for word in WORDS {
            let begun = Instant::now();
            let mut client = way.connect(server.port())?;
            client.send(word)?;
            let mut echo = Vec::new();
            client.exactly(word.len() as u64, |part| {
                echo.extend_from_slice(part);
                Ok(())
            })?;
            let after = begun.elapsed();
            println!("{}: {word:?} came back after {after:?}", way.server.name());
            ensure!(echo == word.as_bytes() && after < wait::here(SECOND), "{echo:?} after {after:?}");
            client.send("\r\nl5d-client-id: mine\r\n")?;
            client.half_close()?;
            ensure!(client.all()?.ends_with(b"l5d-client-id: mine\r\n"), "what follows has changed");
        }
        Ok(())
    })
}

fn at_the_destination(mesh: &Mesh) -> Result<()> {
    let plain = mesh.pod("plain-client");
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let server = way.http2(|_| Answer::http(200, "x"))?;
        let echo = way.serve(backends::echo())?;
        let proxy = mesh.proxy(way.node).watch()?;
        for at in [1, 3, 9, 20] {
            let mut client = way.connect_from(&plain, origin.port())?;
            let request = "GET /plain HTTP/1.1\r\nHost: origin.test\r\nl5d-client-id: forged\r\n\r\n";
            client.send(&request[..at])?;
            thread::sleep(Duration::from_millis(300));
            client.send(&request[at..])?;
            ensure!(Message::response(&mut client, To::Other)?.text() == "/plain", "cut after {at} bytes");
        }
        for request in origin.requests() {
            only_l5d(&request.head, &[])?;
        }
        let target = mesh.service(way.server.name()).at(server.port());
        let stream = in_two_parts(plain.connect(target)?, 10, SECOND)?;
        ensure!(
            http2::Client::over_unix(stream)?.send(http2::get("origin.test", "/"))?.status == 200,
            "HTTP/2"
        );
        let mut client = way.connect_from(&plain, echo.port())?;
        client.send("no HTTP\n")?;
        ensure!(&client.array()? == b"no HTTP\n", "another echo");
        client.half_close()?;

        let pod = way.server.name();
        let results = "inbound_tcp_detect_http_results_total";
        proxy.expect(results, &[("pod", pod), ("result", "http/1")], 4.0)?;
        proxy.expect(results, &[("pod", pod), ("result", "http/2")], 1.0)?;
        proxy.expect(results, &[("pod", pod), ("result", "not_http")], 1.0)?;
        proxy.expect("inbound_tcp_detect_http_duration_seconds_count", &[("pod", pod)], 6.0)?;
        origin.no_failures()
    })
}
