//! Requests are sent again where that is safe, a few times, and nowhere else.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use h2::Reason;
use weft_tests::{
    attack::http2::{Frame, Frames, kind},
    http::{Message, Origin, To, Wire},
    http2::{self, Answer, BreakOff, Pending},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::{
    load::{Load, Named, Protocol},
    ways::{Way, all_ports, ask, each_way, ok, servers},
};

pub(crate) fn area() -> Area {
    Area::new("http_replay", cluster)
        .scenario(
            "always_refused",
            "A server that refuses each stream is asked a few times; then the client learns that its request was \
             refused. A request with a body is sent again only from its source, which keeps a short one.",
            always_refused,
        )
        .scenario(
            "refused_once",
            "Where a server refuses each request once, every client gets its answer, and each request is processed \
             once.",
            refused_once,
        )
        .scenario(
            "connections_end",
            "A server that says GOAWAY after each 50 requests makes none fail, and processes each once.",
            connections_end,
        )
        .scenario(
            "every_connection_ends",
            "A server that says GOAWAY on each new connection is connected to a few times for a request; then that is \
             refused.",
            every_connection_ends,
        )
        .scenario(
            "below_a_goaway",
            "A request that a GOAWAY does not exclude may be in process: when the connection then ends, it is not sent \
             again, and the client gets 502.",
            below_a_goaway,
        )
        .scenario(
            "in_process",
            "A request that a server has begun to process when it breaks its connection is not sent again, whether it \
             is GET or POST: the client gets 502.",
            in_process,
        )
        .scenario(
            "idle_connection_closed",
            "When a server breaks an idle connection in the moment in which a request comes, GET is sent once more and \
             answered; POST is not, and gets 502.",
            idle_connection_closed,
        )
        .scenario(
            "silent_endpoint",
            "When an endpoint does not answer any more, not even packets, the HTTP/2 requests to it end with 502 or \
             504, and the others are served by the other endpoint.",
            silent_endpoint,
        )
        .within(Duration::from_secs(180))
}

/// A client on node `a`, and a server on each node.
fn cluster() -> Description {
    servers(mesh("http-replay"), &[("near", "a"), ("far", "b")])
        .pod("client", |pod| pod.node("a").meshed())
        .pod("one", |pod| pod.node("a").meshed().app("shop"))
        .pod("two", |pod| pod.node("b").meshed().app("shop"))
        .service("shop", all_ports)
}

/// A request is sent at most three times from its source, and from its destination's proxy at most twice for each.
const MOST: usize = 6;

/// How often each request arrived, by its path.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, usize>>>);

impl Seen {
    /// Returns how often the path had arrived before.
    fn note(&self, path: &str) -> usize {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(path.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    fn count(&self, path: &str) -> usize {
        self.all().get(path).copied().unwrap_or_default()
    }

    fn all(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The code with which a request's stream was reset.
fn reset(pending: Pending) -> Result<Reason> {
    let error = match pending.wait() {
        Ok(response) => anyhow::bail!("it was answered: {response:?}"),
        Err(error) => error,
    };
    let reset = error.chain().find_map(|cause| cause.downcast_ref::<h2::Error>()?.reason());
    reset.with_context(|| format!("it was not reset: {error:#}"))
}

fn always_refused(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let seen = Seen::default();
        let noted = seen.clone();
        let server = way.http2(move |request| {
            noted.note(request.head.uri.path());
            Answer::broken(BreakOff::Stream(Reason::REFUSED_STREAM))
        })?;
        let client = way.connect2(server.port())?;
        let host = way.host(server.port());
        let ended = reset(client.start(http2::get(&host, "/get"))).context("GET")?;
        ensure!(ended == Reason::REFUSED_STREAM, "GET was reset with {ended:?}");
        let count = seen.count("/get");
        println!("{}: GET arrived {count} times", way.server.name());
        ensure!((2..=MOST).contains(&count), "GET arrived {count} times");
        let ended = reset(client.start(http2::post(&host, "/post", "body"))).context("POST")?;
        ensure!(ended == Reason::REFUSED_STREAM, "POST was reset with {ended:?}");
        ensure!((1..=MOST / 2).contains(&seen.count("/post")), "POST arrived {} times", seen.count("/post"));
        Ok(())
    })
}

fn refused_once(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 50;
    each_way(mesh, |way| {
        let (seen, processed) = (Seen::default(), Seen::default());
        let (noted, done) = (seen.clone(), processed.clone());
        let server = way.http2(move |request| {
            let path = request.head.uri.path();
            if noted.note(path) == 0 {
                return Answer::broken(BreakOff::Stream(Reason::REFUSED_STREAM));
            }
            done.note(path);
            Answer::http(200, path)
        })?;
        let client = way.connect2(server.port())?;
        for number in 0..REQUESTS {
            let path = format!("/{number}");
            let response = client.send(http2::get(&way.host(server.port()), &path))?;
            ensure!(response.status == 200 && response.text() == path, "{response:?}");
            let counts = (seen.count(&path), processed.count(&path));
            ensure!(
                counts == (2, 1),
                "{path} arrived {} times and was processed {} times",
                counts.0,
                counts.1
            );
        }
        Ok(())
    })
}

fn connections_end(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let (seen, name) = (Seen::default(), way.server.name().to_owned());
        let noted = seen.clone();
        let respond = move |request: &http2::Received| {
            let path = request.head.uri.path();
            noted.note(path);
            Answer::http(200, format!("{name} {}", path.trim_start_matches('/')))
        };
        let port = mesh.unused_port();
        let server = http2::Server::ending(way.server.netns(), port, 50, respond)?;
        let target = mesh.service(way.server.name()).at(port);
        let load = Load::start(&way.client, target, Protocol::Http2, 4, Duration::from_millis(1));
        load.keep_on(600)?;
        let outcome = load.stop();
        println!("{}: {outcome:?}, {} connections", way.server.name(), server.peers().len());
        outcome.no_failures()?;
        ensure!(server.peers().len() > 5, "the server had {} connections", server.peers().len());
        let repeated: Vec<_> = seen.all().into_iter().filter(|(_, count)| *count != 1).collect();
        ensure!(repeated.is_empty(), "processed more than once: {repeated:?}");
        Ok(())
    })
}

fn every_connection_ends(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        // GOAWAY(NO_ERROR), and no stream was processed.
        let server = way.serve(Arc::new(|accepted| {
            let mut stream = &accepted.stream;
            stream.read_exact(&mut [0; 24])?;
            let end = Frames::default().frame(kind::SETTINGS, 0, 0, &[]).frame(kind::GOAWAY, 0, 0, &[0; 8]);
            stream.write_all(end.bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            // The proxy may reset the connection with its request unread.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            Ok(())
        }))?;
        let client = way.connect2(server.port())?;
        let ended = reset(client.start(http2::get(&way.host(server.port()), "/")))?;
        ensure!(ended == Reason::REFUSED_STREAM, "the request was reset with {ended:?}");
        let count = usize::try_from(server.accepted())?;
        println!("{}: {count} connections for one request", way.server.name());
        ensure!((2..=MOST).contains(&count), "{count} connections for one request");
        Ok(())
    })
}

fn below_a_goaway(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.serve(Arc::new(|accepted| {
            let mut stream = &accepted.stream;
            stream.read_exact(&mut [0; 24])?;
            stream.write_all(Frames::default().frame(kind::SETTINGS, 0, 0, &[]).bytes())?;
            while let Some(frame) = Frame::read(stream)? {
                if frame.kind == kind::HEADERS {
                    let last = [&frame.stream.to_be_bytes()[..], &[0; 4]].concat();
                    stream.write_all(Frames::default().frame(kind::GOAWAY, 0, 0, &last).bytes())?;
                    break;
                }
            }
            Ok(())
        }))?;
        let response = way.connect2(server.port())?.send(http2::get(&way.host(server.port()), "/"))?;
        ensure!(response.status == 502, "{response:?}");
        ensure!(server.accepted() == 1, "{} connections for one request", server.accepted());
        Ok(())
    })
}

/// How an origin breaks its connection when the second request comes on it.
#[derive(Clone, Copy, PartialEq)]
enum Breaks {
    /// It has read the request and thinks about it.
    Later,
    /// It does not read it.
    AtOnce,
}

/// An origin of HTTP/1 whose connections break at their second request.
fn breaking_http1(way: &Way<'_>, breaks: Breaks, seen: &Seen) -> Result<Origin> {
    let seen = seen.clone();
    Origin::start(&way.server, way.mesh.unused_port(), move |session| {
        let Some(_) = session.request()? else { return Ok(()) };
        session.wire.send(ok("first"))?;
        if breaks == Breaks::Later {
            if let Some(request) = session.request()? {
                seen.note(request.head.target());
                thread::sleep(Duration::from_secs(1));
            }
        } else {
            session.wire.stream().peek(&mut [0])?;
        }
        session.wire.reset()?;
        Ok(())
    })
}

/// The same for HTTP/2.
fn breaking_http2(way: &Way<'_>, breaks: Breaks, seen: &Seen) -> Result<http2::Server> {
    let (seen, connections) = (seen.clone(), Seen::default());
    way.http2(move |request| {
        if connections.note(&request.connection.to_string()) == 0 {
            return Answer::http(200, "first");
        }
        seen.note(request.head.uri.path());
        let broken = Answer::broken(BreakOff::Connection);
        if breaks == Breaks::Later { broken.after(Duration::from_secs(1)) } else { broken }
    })
}

/// The status of a request on a connection that has served before.
fn second_over_http1(way: &Way<'_>, port: u16, method: &str) -> Result<u16> {
    let mut client: Wire = way.connect(port)?;
    ensure!(ask(&mut client, "/first", "")?.head.status() == 200, "the first request failed");
    let body = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    client.send(format!("{method} /{method} HTTP/1.1\r\nHost: origin.test\r\n{body}\r\n"))?;
    Ok(Message::response(&mut client, To::Other)?.head.status())
}

fn second_over_http2(way: &Way<'_>, port: u16, method: &str) -> Result<u16> {
    let client = way.connect2(port)?;
    let host = way.host(port);
    ensure!(client.send(http2::get(&host, "/first"))?.status == 200, "the first request failed");
    let path = format!("/{method}");
    let request = if method == "POST" { http2::post(&host, &path, "") } else { http2::get(&host, &path) };
    Ok(client.send(request)?.status)
}

fn in_process(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        for method in ["GET", "POST"] {
            let path = format!("/{method}");
            let seen = Seen::default();
            let origin = breaking_http1(way, Breaks::Later, &seen)?;
            let status = second_over_http1(way, origin.port(), method)?;
            ensure!(status == 502, "{method} over HTTP/1 got {status}");
            ensure!(seen.count(&path) == 1, "{method} over HTTP/1 arrived {} times", seen.count(&path));

            let seen = Seen::default();
            let server = breaking_http2(way, Breaks::Later, &seen)?;
            let status = second_over_http2(way, server.port(), method)?;
            ensure!(status == 502, "{method} over HTTP/2 got {status}");
            ensure!(seen.count(&path) == 1, "{method} over HTTP/2 arrived {} times", seen.count(&path));
        }
        Ok(())
    })
}

fn idle_connection_closed(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        for (method, expected) in [("GET", 200), ("POST", 502)] {
            let path = format!("/{method}");
            let origin = breaking_http1(way, Breaks::AtOnce, &Seen::default())?;
            let status = second_over_http1(way, origin.port(), method)?;
            ensure!(status == expected, "{method} over HTTP/1 got {status}");
            let read = origin.requests().iter().filter(|request| request.head.target() == path).count();
            ensure!(read == usize::from(method == "GET"), "{method} over HTTP/1 was read {read} times");

            let seen = Seen::default();
            let server = breaking_http2(way, Breaks::AtOnce, &seen)?;
            let status = second_over_http2(way, server.port(), method)?;
            ensure!(status == expected, "{method} over HTTP/2 got {status}");
            ensure!(seen.count(&path) == 1, "{method} over HTTP/2 broke {} connections", seen.count(&path));
            let connections = if method == "GET" { 2 } else { 1 };
            wait::until("the server had the connections", || server.peers().len() == connections)?;
        }
        Ok(())
    })
}

/// Drops every packet to and from a pod.
const SILENCE: &str = "table inet silence { chain in { type filter hook input priority 0; policy drop; }; \
                       chain out { type filter hook output priority 0; policy drop; }; }\n";

fn silent_endpoint(mesh: &Mesh) -> Result<()> {
    for (silent, other) in [("two", "one"), ("one", "two")] {
        let port = mesh.unused_port();
        let _servers =
            [silent, other].map(|pod| Named::start(mesh, pod, port, Protocol::Http2, Duration::ZERO));
        let target = mesh.service("shop").at(port);
        let load = Load::start(&mesh.pod("client"), target, Protocol::Http2, 4, Duration::from_millis(5));
        load.keep_on(200)?;
        let before = load.so_far();
        ensure!(before.by(silent) > 0 && before.by(other) > 0, "{before:?}");
        before.no_failures()?;
        let netns = mesh.pod(silent).netns().path().to_owned();
        weft_vm::nft::apply(&netns, SILENCE)?;
        let goal = load.so_far().total() + 600;
        let went_on =
            wait::until_for(Duration::from_secs(60), "600 more responses", || load.so_far().total() >= goal);
        // Waits until all requests have ended.
        let outcome = load.stop();
        weft_vm::nft::apply(&netns, "delete table inet silence\n")?;
        println!("{silent} is silent: {:?} failed, {:?} answered", outcome.failures, outcome.answered);
        went_on?;
        let unexpected: Vec<_> = outcome
            .failures
            .keys()
            .filter(|failure| !failure.starts_with("502 ") && !failure.starts_with("504 "))
            .collect();
        ensure!(unexpected.is_empty(), "{unexpected:?}");
        ensure!(outcome.by(other) > before.by(other) + 500, "{outcome:?} after {before:?}");
    }
    Ok(())
}
