//! Health checks: the node may make those that a pod's specification declares, and nobody else may.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends, dial,
    http::{Message, Origin, To, Wire},
    http2::{self, Answer},
    mesh::{Description, Mesh, mesh},
    netns::Netns,
    suite::Area,
    texts::log,
    wait,
};

use super::say;
use crate::http_mesh::{ask, ok};

pub(crate) fn area() -> Area {
    Area::new("policy_probes", strict_pods)
        .scenario(
            "only_the_node",
            "The node may make a declared HTTP check of a pod that denies everybody, whatever the query; another path \
             or method is refused, and so is the check from another node or a pod.",
            only_the_node,
        )
        .scenario(
            "masqueraded",
            "A pod whose packets bear the node's own address may not make a health check: no socket of the node belongs \
             to them.",
            masqueraded,
        )
        .scenario(
            "grpc",
            "The node may call grpc.health.v1.Health/Check if a check is declared, and no other method.",
            grpc,
        )
        .scenario(
            "over_tls",
            "If a check over HTTPS is declared, the node's TLS reaches the application; that of others does not.",
            over_tls,
        )
        .scenario(
            "tcp",
            "A connection of the node that carries nothing is neither denied nor logged nor seen by the application; one \
             of a pod is denied.",
            tcp,
        )
        .scenario(
            "the_node_is_a_client",
            "Apart from health checks, policies judge the node as any client without an identity.",
            the_node_is_a_client,
        )
        .alone(
            "without_a_proxy",
            "While no proxy runs, the node still reaches a pod that fails closed, and nobody else does.",
            strict_pods,
            without_a_proxy,
        )
}

const HTTP: u16 = 7000;
const GRPC: u16 = 7001;
const TLS: u16 = 7002;

/// A server on node `b` that denies everybody and declares health checks; one that requires an identity; clients.
fn strict_pods() -> Description {
    mesh("probes")
        .pod("strict", |pod| {
            pod.node("b")
                .meshed()
                .policy("deny")
                .probe("readinessProbe", &format!("httpGet: {{path: \"/ready?full=1\", port: {HTTP}}}"))
                .probe("livenessProbe", &format!("grpc: {{port: {GRPC}}}"))
                .probe("startupProbe", &format!("httpGet: {{path: /started, port: {TLS}, scheme: HTTPS}}"))
        })
        .pod("open", |pod| pod.node("b").meshed().policy("all-unauthenticated"))
        .pod("far", |pod| pod.node("a").meshed())
        .pod("near", |pod| pod.node("b").meshed())
        .pod("plain", |pod| pod.node("a").unmeshed())
        .pod("plain-near", |pod| pod.node("b").unmeshed())
}

/// The node of the pods with checks.
fn node(mesh: &Mesh) -> Netns {
    mesh.node("b")
}

fn get(from: &Netns, target: SocketAddr, path: &str) -> Result<Message> {
    ask(&mut Wire::new(dial::from(from, target)?), path, "")
}

fn origin(mesh: &Mesh) -> Result<Origin> {
    Origin::answering(&mesh.pod("strict"), HTTP, |request| ok(request.head.target()))
}

const ALLOWED: &str = "inbound_http_authz_allow_total";
const DENIED: &str = "inbound_http_authz_deny_total";
const PROBE: [(&str, &str); 4] =
    [("pod", "strict"), ("authz_kind", "default"), ("authz_name", "probe"), ("tls", "no_identity")];

fn only_the_node(mesh: &Mesh) -> Result<()> {
    let origin = origin(mesh)?;
    let pod = mesh.pod("strict");
    let proxy = mesh.proxy("b").watch()?;
    for target in [pod.at(HTTP), pod.at6(HTTP)] {
        let mut wire = Wire::new(dial::from(&node(mesh), target)?);
        for (path, expected) in
            [("/ready", 200), ("/other", 403), ("/ready?full=2", 200), ("/ready/", 403), ("/started", 403)]
        {
            let answer = ask(&mut wire, path, "")?;
            ensure!(answer.head.status() == expected, "{path} of {target}: {answer:?}");
        }
        wire.send("POST /ready HTTP/1.1\r\nHost: strict\r\nContent-Length: 0\r\n\r\n")?;
        let answer = Message::final_response(&mut wire, To::Other)?;
        ensure!(answer.head.status() == 403, "POST: {answer:?}");
    }
    let requests = [("pod", "strict"), ("route_kind", "default"), ("route_name", "probe")];
    proxy.eventually(|now| {
        now.expect(ALLOWED, &PROBE, 4.0)?;
        now.expect(DENIED, &[("pod", "strict")], 8.0)?;
        now.expect("tcp_open_total", &[("pod", "strict"), ("no_tls_reason", "from_node")], 2.0)?;
        now.expect("inbound_http_requests_total", &requests, 4.0)
    })?;
    ensure!(origin.requests().len() == 4, "the application received {}", origin.requests().len());

    let proxy = mesh.proxy("b").watch()?;
    let others = ["far", "near", "plain", "plain-near"].map(|client| mesh.pod(client).netns().clone());
    for from in others.into_iter().chain([mesh.node("a")]) {
        let answer = get(&from, pod.at(HTTP), "/ready")?;
        ensure!(answer.head.status() == 403, "{from:?}: {answer:?}");
    }
    // Same-node and pooled connections are denied when they are opened.
    proxy.expect(ALLOWED, &[("pod", "strict")], 0.0)?;
    ensure!(origin.requests().len() == 4, "the application received a health check of somebody else");
    origin.no_failures()
}

fn masqueraded(mesh: &Mesh) -> Result<()> {
    let _origin = origin(mesh)?;
    let (plain, strict) = (mesh.pod("plain-near"), mesh.pod("strict"));
    let [gateway, _] = mesh.node_addresses("b")?;
    let nft = |rules: &str| weft_vm::nft::apply(node(mesh).path(), rules).context("nft on the node");
    nft(&format!(
        "table ip natted {{ chain post {{ type nat hook postrouting priority 100; ip saddr {} ip daddr {} snat to \
         {gateway}; }}; }}\n",
        plain.v4, strict.v4
    ))?;
    let answer = get(plain.netns(), strict.at(HTTP), "/ready");
    nft("delete table ip natted\n")?;
    let answer = answer?;
    ensure!(answer.head.status() == 403, "{answer:?}");
    mesh.proxy("b").log().expect_line(&["request denied by policy", "strict", &gateway.to_string()])?;
    Ok(())
}

fn grpc(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("strict");
    let _server = http2::Server::start(pod.netns(), GRPC, |_| Answer::grpc(0))?;
    let proxy = mesh.proxy("b").watch()?;
    let call = |from: &Netns, method: &str| {
        let client = http2::Client::over(dial::from(from, pod.at(GRPC))?)?;
        let response = client.send(http2::grpc("strict", &format!("/grpc.health.v1.Health/{method}")))?;
        Ok::<_, anyhow::Error>(response.grpc_status())
    };
    ensure!(call(&node(mesh), "Check")? == Some(0), "the check is refused");
    ensure!(call(&node(mesh), "Watch")? == Some(7), "another method is let in");
    ensure!(call(mesh.pod("plain").netns(), "Check")? == Some(7), "a pod is let in");
    proxy.expect(ALLOWED, &PROBE, 1.0)?;
    let requests = [("pod", "strict"), ("route_name", "probe")];
    proxy.expect("inbound_grpc_requests_total", &requests, 1.0)
}

/// The smallest ClientHello: one cipher suite, no extensions.
fn hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

/// Sends a ClientHello and expects it back.
fn begin_tls(from: &Netns, target: SocketAddr) -> Result<()> {
    let mut stream = dial::from(from, target)?;
    stream.write_all(&hello())?;
    let mut answer = vec![0; hello().len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == hello(), "{answer:?}");
    Ok(())
}

fn over_tls(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("strict");
    let servers = [pod.serve(TLS, backends::echo())?, pod.serve(HTTP, backends::echo())?];
    let proxy = mesh.proxy("b").watch()?;
    begin_tls(&node(mesh), pod.at(TLS)).context("the check over HTTPS")?;
    let by = [("pod", "strict"), ("authz_name", "probe"), ("tls", "opaque")];
    proxy.expect("inbound_tcp_authz_allow_total", &by, 1.0)?;
    for (from, port, what) in [
        (node(mesh), HTTP, "TLS to a port whose check is plain"),
        (mesh.pod("plain-near").netns().clone(), TLS, "TLS of a pod"),
        (mesh.node("a"), TLS, "TLS of another node"),
    ] {
        let result = wait::promptly(what, || begin_tls(&from, pod.at(port)))?;
        ensure!(result.is_err(), "{what} was let in");
    }
    ensure!(say(dial::from(&node(mesh), pod.at(TLS))?).is_err(), "plaintext was let in");
    servers[1].untouched()
}

fn tcp(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("strict");
    let server = pod.serve(mesh.unused_port(), backends::echo())?;
    let target = pod.at(server.port());
    let proxy = mesh.proxy("b").watch()?;
    let opened = [("pod", "strict"), ("peer", "src"), ("no_tls_reason", "from_node")];
    let denied = [("pod", "strict")];
    for _ in 0..3 {
        drop(dial::from(&node(mesh), target)?);
        let stream = dial::from(&node(mesh), target)?;
        stream.shutdown(Shutdown::Write)?;
        ensure!((&stream).read(&mut [0])? == 0, "bytes");
    }
    proxy.eventually(|now| {
        now.expect("tcp_close_total", &opened, 6.0)?;
        now.expect("inbound_tcp_authz_deny_total", &denied, 0.0)?;
        now.expect("inbound_tcp_errors_total", &denied, 0.0)
    })?;
    ensure!(mesh.proxy("b").log().line_with(&[log::DENIED]).is_none(), "a denial was logged");
    drop(dial::from(mesh.pod("plain").netns(), target)?);
    proxy.expect("inbound_tcp_authz_deny_total", &denied, 1.0)?;
    server.untouched()
}

fn the_node_is_a_client(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let (strict, open) = (mesh.pod("strict"), mesh.pod("open"));
    let servers = [strict.serve(port, backends::echo())?, open.serve(port, backends::echo())?];
    let proxy = mesh.proxy("b").watch()?;
    for (guarded, open) in [(strict.at(port), open.at(port)), (strict.at6(port), open.at6(port))] {
        say(dial::from(&node(mesh), open)?).context("the pod that lets everybody in")?;
        let refused = wait::promptly("the refusal", || dial::from(&node(mesh), guarded).map(say))?;
        ensure!(!matches!(refused, Ok(Ok(()))), "the node was let in to {guarded}");
    }
    proxy.expect("inbound_tcp_authz_allow_total", &[("pod", "open"), ("tls", "no_identity")], 2.0)?;
    proxy.expect("inbound_tcp_authz_deny_total", &[("pod", "strict"), ("tls", "no_identity")], 2.0)?;
    servers[0].untouched()?;
    servers[1].no_failures()
}

fn without_a_proxy(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("strict");
    let server = pod.serve(mesh.unused_port(), backends::echo())?;
    let target = pod.at(server.port());
    let refused = dial::from(&node(mesh), target).map(say);
    ensure!(!matches!(refused, Ok(Ok(()))), "the node was let in while a proxy runs");
    mesh.proxy("b").kill()?;
    say(dial::from(&node(mesh), target)?).context("the node")?;
    for client in ["plain", "plain-near"] {
        let refused = mesh.pod(client).connect(target).map(say);
        ensure!(!matches!(refused, Ok(Ok(()))), "{client} was let in");
    }
    ensure!(server.accepted() == 1, "the application accepted {}", server.accepted());
    mesh.proxy("b").launch()?;
    wait::until("the node is refused again", || {
        !matches!(dial::from(&node(mesh), target).map(say), Ok(Ok(())))
    })
}
