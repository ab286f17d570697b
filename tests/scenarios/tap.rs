//! Taps of the proxies: what they show, to whom, and how much of it.

mod cost;
mod filters;
mod limits;
mod refused;
mod restart;
mod service;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http2::{self, Answer},
    mesh::{Description, Mesh},
    suite::Area,
    tap::{Call, TAP_IDENTITY, Tap, tap},
};

use crate::http_mesh::{
    ask,
    ways::{Way, cluster, each_way, servers, status},
};

pub(crate) fn area() -> Area {
    Area::new("tap", tapped)
        .scenario(
            "requests",
            "A tap of both ends shows each request of the client once per end: method, path without its query, status, \
             size, times in order, the pods' labels, and how the connection is secured; to another node and within one.",
            requests,
        )
        .scenario(
            "grpc",
            "Calls of gRPC end with their status, and streams that are reset with their code.",
            grpc,
        )
        .scenario(
            "own_errors",
            "Requests that the proxy answers itself, and requests that policy denies, are shown with the status that the \
             client gets.",
            own_errors,
        )
        .scenario(
            "headers",
            "Headers are shown if the tap asks for them, binary ones too; those on its list of secrets never.",
            headers,
        )
        .scenario(
            "filters",
            "Direction, method, path, authority, scheme, addresses and labels of the destination select requests.",
            filters::filters,
        )
        .scenario(
            "opt_out",
            "A pod with viz.linkerd.io/disable-tap is never shown, from the moment on at which it has the annotation.",
            filters::opt_out,
        )
        .scenario(
            "limits",
            "A tap shows no more requests per second, and no more in all, than it asked for; it is told of the rest; \
             requests are not slowed down.",
            limits::limits,
        )
        .scenario(
            "slow_reader",
            "A reader that does not read costs the clients nothing: events are dropped, counted, and it is told.",
            limits::slow_reader,
        )
        .scenario(
            "cost",
            "2 000 requests per second are all answered while both ends are tapped at 100 per second; it prints what that \
             costs.",
            cost::cost,
        )
        .scenario("too_many", "More taps than a proxy allows are refused; the others go on.", limits::too_many)
        .scenario(
            "refused",
            "Only the tap service's identity may tap: no certificate, another identity of the mesh, an expired \
             certificate and a foreign authority are refused, counted and logged.",
            refused::refused,
        )
        .scenario(
            "takeover",
            "When a proxy is replaced, its taps end with UNAVAILABLE, and the successor shows the next requests.",
            restart::takeover,
        )
        .scenario(
            "through_viz",
            "weft-viz taps a namespace or a pod on both nodes, for who has the token: it says which pods are tapped and why \
             others are not, shows each request once per end with both pods, and finds a proxy's successor.",
            service::through_viz,
        )
        .scenario("kill", "After a crash the new proxy can be tapped.", restart::kill)
        .alone(
            "off",
            "Without --tap-identity a proxy does not listen for taps.",
            cluster,
            refused::off,
        )
}

/// The usual cluster, whose proxies can be tapped.
fn tapped() -> Description {
    tappable(servers(cluster(), &[("hidden", "a")]))
}

fn tappable(description: Description) -> Description {
    description.proxy_arg("--tap=127.0.0.1:0").proxy_arg(&format!("--tap-identity={TAP_IDENTITY}"))
}

/// Taps of the client's end and of the server's end of a way.
fn both_ends(way: &Way<'_>) -> Result<(Tap, Tap)> {
    let client = tap(way.mesh, "a", &["client"])?.direction("outbound").open().context("the client's end")?;
    let server = tap(way.mesh, way.node, &[way.server.name()])?
        .direction("inbound")
        .open()
        .context("the server's end")?;
    Ok((client, server))
}

fn requests(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|request| {
            let code = if request.head.line.contains("/bad/") { 503 } else { 200 };
            status(code, b"twelve bytes")
        })?;
        let (client, server) = both_ends(way)?;
        let mut wire = way.connect(origin.port())?;
        for number in 0..20 {
            let kind = if number % 4 == 0 { "bad" } else { "good" };
            let expected = if number % 4 == 0 { 503 } else { 200 };
            let response = ask(&mut wire, &format!("/{kind}/{number}?secret=1"), "")?;
            ensure!(response.head.status() == expected, "{response:?}");
        }
        for (end, tap) in [("client", &client), ("server", &server)] {
            let calls = tap.expect(20).context(end)?;
            let count = |status| calls.iter().filter(|call| call.status == Some(status)).count();
            ensure!((count(200), count(503)) == (15, 5), "{end}: {calls:?}");
            let mut paths: Vec<_> = calls.iter().map(|call| call.request.path.clone()).collect();
            paths.sort();
            let mut expected: Vec<_> =
                (0..20).map(|n| format!("/{}/{n}", if n % 4 == 0 { "bad" } else { "good" })).collect();
            expected.sort();
            ensure!(paths == expected, "{end}: {paths:?}");
            for call in &calls {
                check(call, way).with_context(|| format!("{end}: {call:?}"))?;
            }
        }
        ensure!(
            client.calls().iter().all(|call| !call.inbound) && server.calls().iter().all(|call| call.inbound)
        );
        origin.no_failures()
    })
}

/// What every request of [`requests`] has in common.
fn check(call: &Call, way: &Way<'_>) -> Result<()> {
    let end = call.end.as_ref().context("no end")?;
    ensure!(call.method == "GET" && call.request.authority == "origin.test", "the head");
    ensure!(end.bytes == 12 && end.grpc_status.is_none() && end.reset.is_none(), "the end");
    let latency = call.latency.context("no latency")?;
    ensure!(Duration::ZERO < latency && latency <= end.duration, "the times");
    let label = |labels: &std::collections::BTreeMap<String, String>, name: &str| {
        labels.get(name).cloned().unwrap_or_default()
    };
    let (own, other, pod, identity, peer) = match call.inbound {
        true => (&call.destination, &call.source, way.server.name(), "client_id", way.client.identity()),
        false => (&call.source, &call.destination, way.client.name(), "server_id", way.server.identity()),
    };
    ensure!(label(own, "pod") == pod && label(own, "namespace") == "test", "the pod");
    ensure!(label(other, "tls") == way.tls && label(other, identity) == peer, "how it is secured");
    if !call.inbound {
        ensure!(label(other, "pod") == way.server.name(), "the endpoint");
        ensure!(label(other, "service") == way.server.name(), "the service");
    }
    Ok(())
}

fn grpc(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.http2(|received| match received.head.uri.path() {
            "/shop.Cart/Add" => Answer::grpc(0),
            "/shop.Cart/Fail" => Answer::grpc(2),
            _ => Answer::never(),
        })?;
        let (client_end, server_end) = both_ends(way)?;
        let client = way.connect2(server.port())?;
        let host = way.host(server.port());
        for (path, code) in [("/shop.Cart/Add", 0), ("/shop.Cart/Fail", 2)] {
            let response = client.send(http2::grpc(&host, path))?;
            ensure!(response.grpc_status() == Some(code), "{response:?}");
        }
        // The client gives up.
        drop(client.start(http2::grpc(&host, "/shop.Cart/Wait")));
        let pending = client.start(http2::grpc(&host, "/shop.Cart/Wait"));
        weft_tests::wait::until("the request is shown", || {
            client_end.calls().iter().any(|call| call.request.path == "/shop.Cart/Wait")
        })?;
        drop(pending);
        for (name, tap) in [("client", client_end), ("server", server_end)] {
            weft_tests::wait::until_ok("all calls have ended", || {
                let calls = tap.calls();
                let ended = |path: &str| {
                    let of = calls.iter().filter(|call| call.request.path == path);
                    of.filter_map(|call| call.end.clone())
                        .map(|end| (end.grpc_status, end.reset))
                        .collect::<Vec<_>>()
                };
                ensure!(ended("/shop.Cart/Add") == [(Some(0), None)], "{name}: {calls:?}");
                ensure!(ended("/shop.Cart/Fail") == [(Some(2), None)], "{name}: {calls:?}");
                let waits = ended("/shop.Cart/Wait");
                ensure!(
                    !waits.is_empty() && waits.iter().all(|end| *end == (None, Some(8))),
                    "{name}: {calls:?}"
                );
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn own_errors(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|_| status(200, b"ok"))?;
        let (client_end, server_end) = both_ends(way)?;
        let mut wire = way.connect(origin.port())?;
        ensure!(ask(&mut wire, "/allowed", "")?.head.status() == 200);
        way.set_policy(origin.port(), "deny")?;
        let (_, asked) = crate::http_mesh::until_status(&mut wire, 200, 403)?;
        let asked = usize::try_from(asked)? + 1;
        for tap in [client_end, server_end] {
            let calls = tap.expect(asked)?;
            let denied = calls.iter().filter(|call| call.status == Some(403)).count();
            ensure!(denied == 1, "{calls:?}");
        }
        way.mesh.remove(&format!("server-{}.yaml", way.server_resource(origin.port())))?;
        let nobody = way.mesh.unused_port();
        let tap = tap(way.mesh, "a", &["client"])?.direction("outbound").open()?;
        let mut wire = weft_tests::http::Wire::new(way.client.connect(way.server.at(nobody))?);
        let response = ask(&mut wire, "/nobody", "")?;
        let calls = tap.expect(1)?;
        ensure!(calls[0].status == Some(response.head.status().into()), "{response:?} {calls:?}");
        Ok(())
    })
}

fn headers(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|_| {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Answer: \xff\xfe\r\nSet-Cookie: secret\r\n\r\n"
                .to_vec()
        })?;
        let shown = tap(mesh, "a", &["client"])?
            .direction("outbound")
            .headers_but("Authorization,set-cookie")
            .open()?;
        let plain = tap(mesh, "a", &["client"])?.direction("outbound").open()?;
        let mut wire = way.connect(origin.port())?;
        ask(&mut wire, "/", "Authorization: secret\r\nX-Question: why\r\n")?;
        let call = shown.expect(1)?.remove(0);
        let request: Vec<_> = call.request.headers.context("no headers")?.headers;
        let value =
            |name: &str| request.iter().find(|header| header.name == name).map(|header| header.value.clone());
        ensure!(
            value("x-question").as_deref() == Some(b"why") && value("authorization").is_none(),
            "{request:?}"
        );
        ensure!(
            call.response_headers.get("x-answer").map(Vec::as_slice) == Some(b"\xff\xfe"),
            "{:?}",
            call.response_headers
        );
        ensure!(!call.response_headers.contains_key("set-cookie"), "{:?}", call.response_headers);
        ensure!(plain.expect(1)?.remove(0).request.headers.is_none(), "headers were not asked for");
        Ok(())
    })
}
