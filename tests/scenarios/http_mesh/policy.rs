//! Policy decides each request, and the application learns who the client is.

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http::{Head, Origin, Wire},
    http2::{self, Answer},
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::ways::{ask, cluster, each_way, ok, only_l5d, until_status};

pub(crate) fn area() -> Area {
    Area::new("http_policy", cluster)
        .scenario(
            "next_request",
            "A policy that changes during a connection decides its next request: 403 when it denies, 200 when it \
             allows again, on the same connection; each is counted, and the application sees only what is allowed.",
            next_request,
        )
        .scenario(
            "next_call",
            "A denied gRPC call gets PERMISSION_DENIED, which counts as a failure of the policy that denies it, and the \
             connection stays: the call succeeds when it is allowed.",
            next_call,
        )
        .scenario(
            "unauthenticated",
            "all-authenticated answers an unmeshed client with 403 and no reason, on a connection that stays open, and \
             serves a meshed one.",
            unauthenticated,
        )
        .scenario(
            "tunnel_is_revoked",
            "A connection that has become a WebSocket ends when the policy denies its client, and is counted.",
            tunnel_is_revoked,
        )
        .scenario(
            "client_id",
            "The application receives the client's identity in l5d-client-id, and no l5d-* header of the client's.",
            client_id,
        )
}

fn next_request(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let (port, pod) = (origin.port(), way.server.name());
        let proxy = mesh.proxy(way.node).watch()?;
        let mut client = way.connect(port)?;
        ensure!(ask(&mut client, "/first", "")?.text() == "/first", "the first request failed");
        let (mut allowed, mut denied) = (1, 0);
        for _ in 0..2 {
            way.set_policy(port, "deny")?;
            let (refusal, requests) = until_status(&mut client, 200, 403)?;
            ensure!(refusal.body.is_empty(), "a denial with the body {:?}", refusal.text());
            ensure!(refusal.head.values("connection").is_empty(), "the denial ends the connection");
            (allowed, denied) = (allowed + requests - 1, denied + 1);
            let again = ask(&mut client, "/again", "")?;
            ensure!(again.head.status() == 403, "after a denial: {again:?}");
            denied += 1;
            way.set_policy(port, "all-unauthenticated")?;
            let (_, requests) = until_status(&mut client, 403, 200)?;
            (allowed, denied) = (allowed + 1, denied + requests - 1);
        }
        let seen = origin.requests().len();
        ensure!(seen == allowed as usize, "{allowed} requests were answered, and the origin saw {seen}");
        let server = way.server_resource(port);
        let of_port = format!("{}", port);
        let by = [("pod", pod), ("target_port", of_port.as_str()), ("tls", way.tls)];
        proxy.expect("inbound_http_authz_deny_total", &by, denied.into())?;
        proxy.expect("inbound_http_authz_allow_total", &by, allowed.into())?;
        let named = [("pod", pod), ("srv_kind", "server"), ("srv_name", server.as_str())];
        proxy.expect("inbound_http_authz_deny_total", &named, denied.into())?;
        // The connection is older than the policy, whose requests these are.
        let refused = [("direction", "inbound"), ("pod", pod), ("status_code", "403"), ("srv_name", &server)];
        proxy.expect("response_total", &refused, denied.into())?;
        mesh.proxy(way.node).log().expect_line(&["request denied by policy", pod])?;
        println!("{pod}: {allowed} allowed, {denied} denied on one connection");
        origin.no_failures()
    })
}

fn next_call(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|_| Answer::grpc(0))?;
        let port = server.port();
        let proxy = mesh.proxy(way.node).watch()?;
        let client = way.connect2(port)?;
        let call = || client.send(http2::grpc(&way.host(port), "/test.Service/Call"));
        ensure!(call()?.grpc_status() == Some(0), "the first call failed");
        for _ in 0..2 {
            way.set_policy(port, "deny")?;
            let refusal = wait::until_ok("calls are denied", || {
                let response = call()?;
                ensure!(response.grpc_status() == Some(7), "{response:?}");
                Ok(response)
            })?;
            ensure!(refusal.status == 200 && refusal.body.is_empty(), "{refusal:?}");
            ensure!(refusal.header("grpc-message").contains("denies"), "{refusal:?}");
            way.set_policy(port, "all-unauthenticated")?;
            wait::until_ok("calls are allowed", || {
                let response = call()?;
                ensure!(response.grpc_status() == Some(0), "{response:?}");
                Ok(())
            })?;
        }
        ensure!(client.is_open(), "the connection has ended");
        let resource = way.server_resource(port);
        let refused = [
            ("direction", "inbound"),
            ("pod", way.server.name()),
            ("grpc_status", "7"),
            ("status_code", "200"),
        ];
        let failed = [refused.as_slice(), &[("classification", "failure"), ("srv_name", &resource)]].concat();
        proxy.expect_some("response_total", &failed)?;
        proxy.expect("response_total", &[refused.as_slice(), &[("classification", "success")]].concat(), 0.0)
    })
}

fn unauthenticated(mesh: &Mesh) -> Result<()> {
    let plain = mesh.pod("plain-client");
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let (port, pod) = (origin.port(), way.server.name());
        let mut client = way.connect_from(&plain, port)?;
        ensure!(ask(&mut client, "/open", "")?.text() == "/open", "the open port refuses");
        way.set_policy(port, "all-authenticated")?;
        let proxy = mesh.proxy(way.node).watch()?;
        let (refusal, _) = until_status(&mut client, 200, 403)?;
        only_l5d(&refusal.head, &[])?;
        let denied = [("pod", pod), ("tls", "no_identity")];
        proxy.expect_some("inbound_http_authz_deny_total", &denied)?;
        ensure!(ask(&mut client, "/again", "")?.head.status() == 403, "the second request was not denied");

        // A connection that begins under this policy is answered too.
        let mut late = way.connect_from(&plain, port)?;
        for path in ["/late", "/later"] {
            ensure!(ask(&mut late, path, "")?.head.status() == 403, "{path} was not denied");
        }
        let mut meshed = way.connect(port)?;
        ensure!(ask(&mut meshed, "/meshed", "")?.text() == "/meshed", "a meshed client was denied");
        way.set_policy(port, "all-unauthenticated")?;
        until_status(&mut client, 403, 200)?;
        until_status(&mut late, 403, 200)?;
        origin.no_failures()
    })
}

fn tunnel_is_revoked(mesh: &Mesh) -> Result<()> {
    let plain = mesh.pod("plain-client");
    each_way(mesh, |way| {
        let origin = Origin::start(&way.server, mesh.unused_port(), |session| {
            if session.head()?.is_none() {
                return Ok(());
            }
            session.wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            )?;
            // Its end is the policy's doing.
            while let Ok(part) = session.wire.some() {
                if part.is_empty() {
                    break;
                }
                session.wire.send(part)?;
            }
            Ok(())
        })?;
        let port = origin.port();
        let proxy = mesh.proxy(way.node).watch()?;
        let mut tunnels = vec![upgraded(way.connect(port)?)?, upgraded(way.connect_from(&plain, port)?)?];
        for tunnel in &mut tunnels {
            tunnel.send("ping")?;
            ensure!(&tunnel.array()? == b"ping", "the tunnel does not echo");
        }
        way.set_policy(port, "deny")?;
        for tunnel in &mut tunnels {
            let ended = wait::promptly("the end of the tunnel", || tunnel.some())?;
            ensure!(ended.as_ref().is_ok_and(Vec::is_empty) || ended.is_err(), "more bytes: {ended:?}");
        }
        let ended = [("pod", way.server.name())];
        proxy.expect("inbound_tcp_authz_terminate_total", &ended, 2.0)
    })
}

/// Asks for WebSocket.
fn upgraded(mut wire: Wire) -> Result<Wire> {
    wire.send(
        "GET /chat HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )?;
    let head = Head::read(&mut wire)?;
    ensure!(head.status() == 101, "{head:?}");
    Ok(wire)
}

const FORGED: &str =
    "l5d-client-id: admin.test\r\nL5d-Remote-Ip: 1.2.3.4\r\nl5d-dst-canonical: x\r\nX-Own: 1\r\n";

fn client_id(mesh: &Mesh) -> Result<()> {
    let plain = mesh.pod("plain-client");
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let own = way.client.identity();
        let mut client = way.connect(origin.port())?;
        // A second request too: pooled connections must not mix clients up.
        for path in ["/1", "/2"] {
            ask(&mut client, path, FORGED)?;
        }
        ask(&mut way.connect_from(&plain, origin.port())?, "/3", FORGED)?;
        let requests = origin.requests();
        ensure!(requests.len() == 3, "{} requests arrived", requests.len());
        for request in &requests {
            let expected: &[_] =
                if request.head.target() == "/3" { &[] } else { &[("l5d-client-id", own.as_str())] };
            only_l5d(&request.head, expected).with_context(|| format!("{:?}", request.head))?;
            ensure!(request.head.values("x-own") == ["1"], "an honest header is missing: {request:?}");
        }

        let server = way.http2(|request| Answer::http(200, request.header("l5d-client-id")))?;
        let mut request = http2::get(&way.host(server.port()), "/");
        request.headers_mut().insert("l5d-client-id", "admin.test".parse()?);
        let response = way.connect2(server.port())?.send(request)?;
        ensure!(response.text() == own, "by HTTP/2 the client's identity is {:?}", response.text());
        origin.no_failures()
    })
}
