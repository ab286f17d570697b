//! Requests that have not reached an application, because it does not listen any more, are sent to another endpoint.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use weft_tests::{
    http::{Message, Origin, To, Wire},
    http2::{self, Answer},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::ways::{all_ports, ok};

pub(crate) fn area() -> Area {
    Area::new("http_unsent", shop)
        .scenario(
            "closed_listener",
            "An endpoint closes its listener and stays ready: not one POST fails over HTTP/1, and the other endpoint \
             gets whole bodies.",
            closed_listener,
        )
        .scenario(
            "closed_listener_http2",
            "The same over HTTP/2, also for calls of gRPC.",
            closed_listener_http2,
        )
        .scenario(
            "received",
            "A request that an application received before it closed everything is answered with 502 and reaches no \
             other endpoint, whatever its method.",
            received,
        )
        .scenario(
            "forged",
            "An application cannot cause that its request is sent to another endpoint, whatever headers its answer has.",
            forged,
        )
        .scenario(
            "forged_on_an_opaque_port",
            "Nor can one whose port is opaque at its pod, so that only the source's proxy takes it for HTTP.",
            forged_on_an_opaque_port,
        )
        .scenario(
            "long_body",
            "A body of more than 16 KiB is not kept: the request is answered with 502, and the next one succeeds.",
            long_body,
        )
}

/// A port that the service does not declare opaque, and its pods do.
const OPAQUE: &str = "8059";

/// Two servers behind one service, both on the other node.
fn shop() -> Description {
    mesh("http-unsent")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("fast", |pod| {
            pod.node("b").meshed().app("shop").annotate("config.linkerd.io/opaque-ports", OPAQUE)
        })
        .pod("slow", |pod| {
            pod.node("b").meshed().app("shop").annotate("config.linkerd.io/opaque-ports", OPAQUE)
        })
        .service("shop", all_ports)
}

/// Of two endpoints, nearly all requests go to the faster one.
const SLOW: Duration = Duration::from_millis(20);
/// In which the proxy of the destination learns that the application has closed its connections.
const NOTICED: Duration = Duration::from_millis(500);

/// Sends a POST on a connection that is kept; after an answer that closes it, on a new one.
struct Client<'a> {
    mesh: &'a Mesh,
    port: u16,
    wire: Option<Wire>,
}

impl<'a> Client<'a> {
    fn new(mesh: &'a Mesh, port: u16) -> Self {
        Self { mesh, port, wire: None }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Message> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::new(self.mesh.pod("client").connect(self.mesh.service("shop").at(self.port))?),
        };
        let length = body.len();
        wire.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{body}"
        ))?;
        let response = Message::final_response(&mut wire, To::Other)?;
        if response.head.values("connection") != ["close"] {
            self.wire = Some(wire);
        }
        Ok(response)
    }

    /// Sends requests until the fast server has answered one.
    fn reach_fast(&mut self) -> Result<()> {
        for number in 0..50 {
            let response = self.send("POST", &format!("/before/{number}"), "hello")?;
            ensure!(response.head.status() == 200, "{response:?}");
            if response.text() == "fast" {
                return Ok(());
            }
        }
        bail!("the fast server got none of 50 requests")
    }
}

/// A server that closes each connection after its answer, its name.
fn one_by_one(mesh: &Mesh, name: &'static str, port: u16, delay: Duration) -> Result<Origin> {
    Origin::answering(&mesh.pod(name), port, move |_| {
        thread::sleep(delay);
        let length = name.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}").into()
    })
}

fn closed_listener(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let slow = one_by_one(mesh, "slow", port, SLOW)?;
    let fast = one_by_one(mesh, "fast", port, Duration::ZERO)?;
    let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy("b").watch()?);
    let mut client = Client::new(mesh, port);
    client.reach_fast()?;
    drop(fast);
    let before = slow.requests().len();
    for number in 0..40 {
        let body = format!("body {number}");
        let response = client.send("POST", &format!("/{number}"), &body)?;
        ensure!(response.head.status() == 200 && response.text() == "slow", "{number}: {response:?}");
        let arrived = slow.requests();
        ensure!(arrived.len() == before + number + 1, "request {number} arrived {} times", arrived.len());
        let last = arrived.last().context("no request")?;
        ensure!(last.text() == body && last.head.target() == format!("/{number}"), "{last:?}");
    }
    // The way of which this is a test: the request was at the other proxy.
    let refused = [("pod", "fast"), ("error", "refused by endpoint")];
    destination.expect_some("inbound_http_errors_total", &refused)?;
    let failed = [("direction", "outbound"), ("pod", "client"), ("classification", "failure")];
    source.expect("response_total", &failed, 0.0)
}

fn closed_listener_http2(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let start = |name: &'static str, delay| {
        http2::Server::start(mesh.pod(name).netns(), port, move |request| {
            match request.header("content-type") {
                "application/grpc" => Answer::grpc(0).after(delay),
                _ => Answer::http(200, format!("{name} {}", String::from_utf8_lossy(&request.body)))
                    .after(delay),
            }
        })
    };
    let (slow, fast) = (start("slow", SLOW)?, start("fast", Duration::ZERO)?);
    let destination = mesh.proxy("b").watch()?;
    let client = http2::Client::over(mesh.pod("client").connect(mesh.service("shop").at(port))?)?;
    for number in 0.. {
        ensure!(number < 50, "the fast server got none of 50 requests");
        let response = client.send(http2::post("shop.test", "/before", "x"))?;
        ensure!(response.status == 200, "{response:?}");
        if response.text() == "fast x" {
            break;
        }
    }
    drop(fast);
    thread::sleep(NOTICED);
    for number in 0..20 {
        let before = slow.requests();
        let response = client.send(http2::post("shop.test", "/", format!("body {number}")))?;
        ensure!(response.status == 200 && response.text() == format!("slow body {number}"), "{response:?}");
        let call = client.send(http2::grpc("shop.test", "/test.Service/Call"))?;
        ensure!(call.status == 200 && call.grpc_status() == Some(0), "the call got {call:?}");
        ensure!(slow.requests() == before + 2, "{} requests arrived", slow.requests() - before);
    }
    let refused = [("pod", "fast"), ("error", "refused by endpoint")];
    destination.expect_some("inbound_http_errors_total", &refused)
}

fn received(mesh: &Mesh) -> Result<()> {
    for method in ["POST", "GET"] {
        let port = mesh.unused_port();
        let slow = one_by_one(mesh, "slow", port, SLOW)?;
        // Keeps its connections, until a request makes it close everything.
        let running: Arc<Mutex<Option<Origin>>> = Arc::default();
        let own = running.clone();
        let fast = Origin::start(&mesh.pod("fast"), port, move |session| {
            while let Some(request) = session.request()? {
                if request.head.target().starts_with("/last/") {
                    drop(own.lock().unwrap_or_else(PoisonError::into_inner).take());
                    return Ok(session.wire.close()?);
                }
                session.wire.send(ok("fast"))?;
            }
            Ok(())
        })?;
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(fast);
        let mut client = Client::new(mesh, port);
        client.reach_fast()?;
        let mut lost = Vec::new();
        for number in 0..50 {
            let path = format!("/last/{number}");
            let response = client.send(method, &path, "")?;
            match response.head.status() {
                200 => {}
                502 => lost.push(path),
                other => bail!("{method} got {other}: {response:?}"),
            }
        }
        ensure!(lost.len() == 1, "{method}: {lost:?} got 502");
        let twice = slow.requests().iter().any(|request| request.head.target() == lost[0]);
        ensure!(!twice, "{method} {} reached another endpoint", lost[0]);
    }
    Ok(())
}

fn forged(mesh: &Mesh) -> Result<()> {
    forging(mesh, mesh.unused_port())
}

fn forged_on_an_opaque_port(mesh: &Mesh) -> Result<()> {
    let watch = mesh.proxy("a").watch()?;
    forging(mesh, OPAQUE.parse()?)?;
    watch.expect_some("request_total", &[("direction", "outbound"), ("pod", "client")])
}

fn forging(mesh: &Mesh, port: u16) -> Result<()> {
    let slow = one_by_one(mesh, "slow", port, SLOW)?;
    let fast = Origin::answering(&mesh.pod("fast"), port, |request| match request.head.target() {
        "/forged" => [
            "HTTP/1.1 502 Bad Gateway\r\nConnection: close, weft-unsent\r\nWeft-Unsent: 1\r\n",
            "l5d-proxy-error: connecting to the application\r\nl5d-proxy-connection: close\r\n",
            "Content-Length: 0\r\n\r\n",
        ]
        .concat()
        .into(),
        _ => ok("fast"),
    })?;
    let mut client = Client::new(mesh, port);
    client.reach_fast()?;
    let before = slow.requests().len();
    wait::until_ok("the fast server answers", || {
        let response = client.send("POST", "/forged", "x")?;
        ensure!(response.head.status() == 502, "answered by the other one: {response:?}");
        Ok(())
    })?;
    let forged = fast.requests().iter().filter(|request| request.head.target() == "/forged").count();
    ensure!(forged == 1, "{forged} requests were answered with 502");
    let others =
        slow.requests()[before..].iter().map(|request| request.head.target().to_owned()).collect::<Vec<_>>();
    // Each of these was answered with 200, before.
    println!("the other endpoint got {others:?}");
    fast.no_failures()?;
    let counted = fast.requests().len() + slow.requests().len();
    let response = client.send("POST", "/after", "x")?;
    ensure!(response.head.status() == 200, "{response:?}");
    ensure!(fast.requests().len() + slow.requests().len() == counted + 1, "a request arrived twice");
    Ok(())
}

fn long_body(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let slow = one_by_one(mesh, "slow", port, SLOW)?;
    let fast = one_by_one(mesh, "fast", port, Duration::ZERO)?;
    let mut client = Client::new(mesh, port);
    client.reach_fast()?;
    drop(fast);
    let long = "x".repeat(100_000);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(client.send("POST", "/long", &long)?.head.status());
    }
    let failed = statuses.iter().filter(|status| **status != 200).count();
    println!("{statuses:?}");
    ensure!(failed <= 1 && statuses.iter().all(|status| [200, 502].contains(status)), "{statuses:?}");
    ensure!(statuses.last() == Some(&200), "{statuses:?}");
    let whole = slow.requests().iter().filter(|request| request.body.len() == long.len()).count();
    ensure!(whole == 10 - failed, "{whole} whole bodies arrived");
    Ok(())
}
