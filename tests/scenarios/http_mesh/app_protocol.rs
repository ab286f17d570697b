//! Services that declare their protocol by `appProtocol`: the proxy of the source detects nothing, and takes nothing else.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    http::{Message, Origin, To, curl},
    http2::{self, Answer},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::ways::{Way, ask, declaring, each_way, ok, only_l5d};

pub(crate) fn area() -> Area {
    Area::new("http_app_protocol", description)
        .scenario(
            "http",
            "A service that declares http carries HTTP/1 without detection: its server is connected when there is a \
             request, however slowly that comes, and curl gets its page.",
            http,
        )
        .scenario(
            "not_http",
            "What is not HTTP/1 gets 400 from a service that declares http, is counted and logged, and never reaches \
             the server; the next request is served.",
            not_http,
        )
        .scenario(
            "h2c",
            "A service that declares kubernetes.io/h2c carries HTTP/2 with prior knowledge, also from curl, and refuses \
             HTTP/1.",
            h2c,
        )
        .scenario(
            "opaque",
            "A protocol that weft does not know, such as kubernetes.io/ws or grpc, is not interpreted.",
            opaque,
        )
        .scenario(
            "changed",
            "A protocol that is declared while the service is in use decides the next connection, and one that is no \
             longer declared, too; open connections stay what they were.",
            changed,
        )
}

/// The ports of each service, and what they declare.
const PORTS: [(u16, &str); 6] = [
    (HTTP, "http"),
    (REFUSING, "http"),
    (H2C, "kubernetes.io/h2c"),
    (WEBSOCKET, "kubernetes.io/ws"),
    (GRPC, "grpc"),
    (CHANGED, ""),
];
const HTTP: u16 = 8050;
const REFUSING: u16 = 8051;
const H2C: u16 = 8052;
const WEBSOCKET: u16 = 8053;
const GRPC: u16 = 8054;
const CHANGED: u16 = 8055;

const PROTOCOLS: &str = "outbound_tcp_protocol_connections_total";
const DETECTIONS: &str = "outbound_tcp_detect_http_results_total";
const ERRORS: &str = "outbound_http_errors_total";

fn description() -> Description {
    let cluster = mesh("http-app-protocol").pod("client", |pod| pod.node("a").meshed());
    [("near", "a"), ("far", "b")].into_iter().fold(cluster, |cluster, (name, node)| {
        cluster.pod(name, |pod| pod.node(node).meshed()).file(&file(name), &service(name, ""))
    })
}

fn file(service: &str) -> String {
    format!("service-{service}.yaml")
}

/// A service whose port [`CHANGED`] declares this.
fn service(name: &str, changed: &str) -> String {
    declaring(name, PORTS.map(|(port, declared)| (port, if port == CHANGED { changed } else { declared })))
}

fn url(way: &Way<'_>, port: u16, path: &str) -> String {
    format!("http://{}{path}", way.mesh.service(way.server.name()).at(port))
}

fn http(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = Origin::answering(&way.server, HTTP, |request| ok(request.head.target()))?;
        let proxy = mesh.proxy("a").watch()?;
        let mut client = way.connect(HTTP)?;
        thread::sleep(Duration::from_millis(500));
        ensure!(origin.connections() == 0, "the server is connected although nobody asks for anything");
        for part in ["\r", "\nG", "ET /slow HT", "TP/1.1\r\nHost: a\r\nl5d-client-id: forged\r\n\r\n"] {
            client.send(part)?;
            thread::sleep(Duration::from_millis(300));
        }
        ensure!(Message::response(&mut client, To::Other)?.text() == "/slow", "another response");
        only_l5d(&origin.only_request()?.head, &[("l5d-client-id", &way.client.identity())])?;
        ensure!(ask(&mut client, "/again", "")?.text() == "/again", "another response");

        let page = curl(&way.client, &["--http1.1", &url(way, HTTP, "/page")])?.text()?;
        ensure!(page == "/page", "curl received {page:?}");
        proxy.expect(PROTOCOLS, &[("pod", "client"), ("protocol", "http/1")], 2.0)?;
        proxy.expect(DETECTIONS, &[("pod", "client")], 0.0)?;
        let requests = [("direction", "outbound"), ("pod", "client"), ("dst_pod", way.server.name())];
        proxy.expect("request_total", &requests, 3.0)?;
        origin.no_failures()
    })
}

/// The beginnings of other protocols; their clients wait for an answer.
const OTHERS: [&[u8]; 5] =
    [b"\0\0\0\x04PING", b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc", PREFACE];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn not_http(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = Origin::answering(&way.server, REFUSING, |request| ok(request.head.target()))?;
        let proxy = mesh.proxy("a").watch()?;
        for bytes in OTHERS {
            let shown = String::from_utf8_lossy(bytes);
            let mut client = way.connect(REFUSING)?;
            client.send(bytes)?;
            let refused = wait::promptly("the answer", || Message::response(&mut client, To::Other))?
                .with_context(|| format!("after {shown:?}"))?;
            ensure!(refused.head.status() == 400, "{shown:?} got {refused:?}");
            ensure!(client.all()?.is_empty(), "the connection goes on after {shown:?}");
        }
        ensure!(origin.connections() == 0, "the server saw {} connections", origin.connections());
        proxy.expect(ERRORS, &[("pod", "client"), ("error", "bad request")], OTHERS.len() as f64)?;
        mesh.proxy("a").log().expect_line(&["malformed HTTP refused", "client", "an invalid method"])?;
        ensure!(ask(&mut way.connect(REFUSING)?, "/good", "")?.text() == "/good", "another response");
        origin.no_failures()
    })
}

fn h2c(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = http2::Server::start(way.server.netns(), H2C, |request| {
            Answer::http(200, request.header("l5d-client-id"))
        })?;
        let (own, proxy) = (way.client.identity(), mesh.proxy("a").watch()?);
        let silent = way.client.connect(mesh.service(way.server.name()).at(H2C))?;
        thread::sleep(Duration::from_millis(500));
        ensure!(server.peers().is_empty(), "the server is connected although nobody asks for anything");
        let response = http2::Client::over(silent)?.send(http2::get("origin.test", "/"))?;
        ensure!(response.status == 200 && response.text() == own, "{response:?}");
        let page = curl(&way.client, &["--http2-prior-knowledge", &url(way, H2C, "/")])?.text()?;
        ensure!(page == own, "curl received {page:?}");

        let mut client = way.connect(H2C)?;
        client.send("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")?;
        // A GOAWAY frame, or a reset.
        let answer = client.all().unwrap_or_default();
        ensure!(!answer.starts_with(b"HTTP"), "HTTP/1 got {:?}", String::from_utf8_lossy(&answer));
        ensure!(server.requests() == 2, "{} requests arrived", server.requests());
        proxy.expect(PROTOCOLS, &[("pod", "client"), ("protocol", "http/2")], 3.0)?;
        proxy.expect(DETECTIONS, &[("pod", "client")], 0.0)?;
        proxy.expect(ERRORS, &[("pod", "client"), ("error", "protocol error")], 1.0)
    })
}

fn opaque(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        for port in [WEBSOCKET, GRPC] {
            let origin = Origin::answering(&way.server, port, |request| ok(request.head.target()))?;
            let proxy = mesh.proxy("a").watch()?;
            let mut client = way.connect(port)?;
            ask(&mut client, "/opaque", "l5d-client-id: mine\r\n")?;
            only_l5d(&origin.only_request()?.head, &[("l5d-client-id", "mine")])?;
            client.close()?;
            proxy.expect_some("tcp_close_total", &[("direction", "outbound"), ("pod", "client")])?;
            proxy.expect("request_total", &[("direction", "outbound"), ("pod", "client")], 0.0)?;
            origin.no_failures()?;
        }
        Ok(())
    })
}

fn changed(mesh: &Mesh) -> Result<()> {
    const BYTES: &[u8] = b"\0\0\0\x04PING";
    each_way(mesh, |way| {
        let name = way.server.name();
        let server = way.server.serve(CHANGED, backends::echo())?;
        let echoes = || -> Result<()> {
            let mut client = way.connect(CHANGED)?;
            client.send(BYTES)?;
            let answer = client.some()?;
            ensure!(answer == BYTES, "the answer is {:?}", String::from_utf8_lossy(&answer));
            Ok(())
        };
        let refuses = || -> Result<()> {
            let mut client = way.connect(CHANGED)?;
            client.send(BYTES)?;
            let answer = client.some()?;
            ensure!(answer.starts_with(b"HTTP/1.1 400 "), "the answer is {answer:?}");
            Ok(())
        };
        echoes().context("nothing is declared")?;
        let mut open = way.connect(CHANGED)?;
        open.send("before")?;
        ensure!(&open.array()? == b"before", "another echo");

        mesh.write(&file(name), &service(name, "http"))?;
        wait::until_ok("http is declared", refuses)?;
        open.send("during")?;
        ensure!(&open.array()? == b"during", "another echo");
        mesh.write(&file(name), &service(name, ""))?;
        wait::until_ok("nothing is declared again", echoes)?;
        open.close()?;
        server.no_failures()
    })
}
