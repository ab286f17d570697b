//! Requests are balanced one by one, over the endpoints that serve.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    attack::http2::{self as frames, Frames},
    backends::Behaviour,
    http::{Head, Wire},
    http2,
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::{
    load::{Load, Named, PROTOCOLS, Protocol},
    ways::{all_ports, ask},
};

pub(crate) fn area() -> Area {
    Area::new("http_balance", shop)
        .scenario(
            "slow_and_fast",
            "Of two endpoints the one that takes 50 ms gets less than a quarter of the requests, over HTTP/1 and \
             HTTP/2.",
            slow_and_fast,
        )
        .scenario(
            "refusing",
            "An endpoint that refuses connections makes no request fail, and the other one gets them all.",
            refusing,
        )
        .scenario(
            "resetting",
            "An endpoint that resets every request is avoided: the other one gets nearly all, over HTTP/1 and HTTP/2.",
            resetting,
        )
        .scenario(
            "removed_and_added",
            "Removing an endpoint under 200 requests per second loses none, over HTTP/1 and HTTP/2, and it gets no \
             more; when it is added again it gets its share.",
            removed_and_added,
        )
        .scenario(
            "failfast",
            "While no endpoint serves, the first request waits three seconds and gets 504, later ones get it at once; \
             when the endpoint is back, requests succeed.",
            failfast,
        )
}

/// Two servers behind one service, on both nodes, and a client on node `a`.
fn shop() -> Description {
    mesh("http-balance")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("one", |pod| pod.node("a").meshed().app("shop"))
        .pod("two", |pod| pod.node("b").meshed().app("shop"))
        .pod("lonely", |pod| pod.node("b").meshed())
        .pod("near-lonely", |pod| pod.node("a").meshed())
        .service("shop", all_ports)
        .service("lonely", all_ports)
        .service("near-lonely", all_ports)
}

const NO_DELAY: Duration = Duration::ZERO;

fn slow_and_fast(mesh: &Mesh) -> Result<()> {
    const SLOW: Duration = Duration::from_millis(50);
    for protocol in PROTOCOLS {
        // Either may be the one on the client's node.
        for (slow, fast) in [("one", "two"), ("two", "one")] {
            let port = mesh.unused_port();
            let _slow = Named::start(mesh, slow, port, protocol, SLOW)?;
            let _fast = Named::start(mesh, fast, port, protocol, Duration::from_millis(1))?;
            let target = mesh.service("shop").at(port);
            let load = Load::start(&mesh.pod("client"), target, protocol, 4, Duration::from_millis(2));
            load.keep_on(600)?;
            let outcome = load.stop();
            outcome.no_failures()?;
            let (by_slow, by_fast) = (outcome.by(slow), outcome.by(fast));
            println!("{protocol:?}, {slow} is slow: {by_fast} fast, {by_slow} slow");
            ensure!(by_slow > 0, "the slow endpoint got nothing");
            ensure!(by_slow * 4 < outcome.total(), "the slow endpoint got {by_slow} of {}", outcome.total());
        }
    }
    Ok(())
}

fn refusing(mesh: &Mesh) -> Result<()> {
    for protocol in PROTOCOLS {
        for serving in ["one", "two"] {
            let port = mesh.unused_port();
            let server = Named::start(mesh, serving, port, protocol, NO_DELAY)?;
            let proxy = mesh.proxy("a").watch()?;
            let target = mesh.service("shop").at(port);
            let load = Load::start(&mesh.pod("client"), target, protocol, 4, Duration::from_millis(5));
            load.keep_on(300)?;
            let outcome = load.stop();
            outcome.no_failures()?;
            ensure!(outcome.by(serving) == outcome.total(), "{outcome:?}");
            ensure!(server.requests() == outcome.total(), "{} requests arrived", server.requests());
            let failed = [("direction", "outbound"), ("pod", "client"), ("classification", "failure")];
            proxy.expect("response_total", &failed, 0.0)?;
        }
    }
    Ok(())
}

fn resetting(mesh: &Mesh) -> Result<()> {
    for protocol in PROTOCOLS {
        for (bad, good) in [("one", "two"), ("two", "one")] {
            let port = mesh.unused_port();
            let resets: Behaviour = match protocol {
                Protocol::Http1 => Arc::new(|accepted| {
                    let mut wire = Wire::new(accepted.stream.try_clone()?);
                    if wire.begins().is_ok_and(|begins| begins) && Head::read(&mut wire).is_ok() {
                        wire.reset()?;
                    }
                    Ok(())
                }),
                // INTERNAL_ERROR.
                Protocol::Http2 => frames::server(|stream| {
                    Frames::default().frame(frames::kind::RST_STREAM, 0, stream, &[0, 0, 0, 2])
                }),
            };
            let _bad = mesh.pod(bad).serve(port, resets)?;
            let _good = Named::start(mesh, good, port, protocol, Duration::from_millis(2))?;
            let target = mesh.service("shop").at(port);
            let load = Load::start(&mesh.pod("client"), target, protocol, 4, Duration::from_millis(2));
            load.keep_on(600)?;
            let outcome = load.stop();
            let failed: u64 = outcome.failures.values().sum();
            println!("{protocol:?}, {bad} resets: {} answered, {failed} failed", outcome.total());
            ensure!(outcome.by(good) == outcome.total(), "{outcome:?}");
            ensure!(failed > 0, "the other endpoint was not tried");
            ensure!(failed * 20 < outcome.total(), "{failed} failed: {outcome:?}");
        }
    }
    Ok(())
}

fn removed_and_added(mesh: &Mesh) -> Result<()> {
    let mut running = Vec::new();
    for protocol in PROTOCOLS {
        let port = mesh.unused_port();
        let servers = ["one", "two"].map(|pod| Named::start(mesh, pod, port, protocol, NO_DELAY));
        let [one, two] = servers;
        let servers = [one?, two?];
        // 200 requests per second, if they took no time.
        let target = mesh.service("shop").at(port);
        let load = Load::start(&mesh.pod("client"), target, protocol, 2, Duration::from_millis(10));
        running.push((protocol, servers, load));
    }
    let keep_on = |more| running.iter().try_for_each(|(_, _, load)| load.keep_on(more));
    keep_on(200)?;
    for (at, pod) in ["one", "two"].into_iter().enumerate() {
        mesh.change_pod(pod, |pod| pod.app("nobody"))?;
        for (protocol, servers, _) in &running {
            let mut last = servers[at].requests();
            wait::until(&format!("{pod} gets no more requests over {protocol:?}"), || {
                thread::sleep(Duration::from_millis(300));
                std::mem::replace(&mut last, servers[at].requests()) == servers[at].requests()
            })?;
        }
        keep_on(200)?;
        let before: Vec<_> = running.iter().map(|(_, servers, _)| servers[at].requests()).collect();
        keep_on(100)?;
        let after: Vec<_> = running.iter().map(|(_, servers, _)| servers[at].requests()).collect();
        ensure!(before == after, "{pod} has left, and gets requests: {before:?}, then {after:?}");
        mesh.change_pod(pod, |pod| pod.app("shop"))?;
        for (protocol, servers, load) in &running {
            let before = servers[at].requests();
            let what = format!("{pod} gets requests over {protocol:?} again");
            wait::until(&what, || servers[at].requests() >= before + 20)
                .with_context(|| format!("{:?}", load.so_far()))?;
        }
        keep_on(100)?;
    }
    for (protocol, _, load) in running {
        let outcome = load.stop();
        println!("{protocol:?}: {outcome:?}");
        outcome.no_failures()?;
    }
    Ok(())
}

fn failfast(mesh: &Mesh) -> Result<()> {
    for service in ["lonely", "near-lonely"] {
        let port = mesh.unused_port();
        let target = mesh.service(service).at(port);
        let client = mesh.pod("client");
        let proxy = mesh.proxy("a").watch()?;
        let asked = |path: &str| -> Result<(u16, Duration, String)> {
            let begun = Instant::now();
            let mut wire = Wire::new(client.connect(target)?);
            let response = ask(&mut wire, path, "")?;
            let error = response.head.values("l5d-proxy-error").join(",");
            Ok((response.head.status(), begun.elapsed(), error))
        };
        let (status, first, error) = asked("/first")?;
        ensure!(status == 504 || status == 502, "{status} after {first:?}");
        ensure!(!error.is_empty(), "no l5d-proxy-error");
        let (later, next, _) = asked("/next")?;
        println!("{service}: {status} after {first:?}, then {later} after {next:?}");
        ensure!(status == 504 && later == 504, "{status}, then {later}: {error}");
        let expected = Duration::from_millis(2800)..wait::here(Duration::from_secs(6));
        ensure!(expected.contains(&first), "the first request took {first:?}");
        ensure!(next < Duration::from_secs(1), "the next request took {next:?}");
        let stub = http2::Client::over(client.connect(target)?)?;
        let call = stub.send(http2::grpc("lonely.test", "/test.Service/Call"))?;
        ensure!(call.status == 200 && call.grpc_status() == Some(4), "the call got {call:?}");
        let failed = [("pod", "client"), ("error", "FAIL_FAST"), ("http_status", "504")];
        proxy.expect_some("outbound_http_route_request_statuses_total", &failed)?;

        let _server = Named::start(mesh, service, port, Protocol::Http1, NO_DELAY)?;
        let back = Instant::now();
        wait::until_ok("requests succeed again", || {
            let (status, ..) = asked("/1")?;
            ensure!(status == 200, "{status}");
            Ok(())
        })?;
        println!("{service}: serves again after {:?}", back.elapsed());
        let before = Instant::now();
        for _ in 0..20 {
            ensure!(asked("/2")?.0 == 200, "a request failed although the endpoint serves");
        }
        ensure!(
            before.elapsed() < wait::here(Duration::from_secs(3)),
            "20 requests took {:?}",
            before.elapsed()
        );
    }
    Ok(())
}
