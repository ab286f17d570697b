//! Upgrades and ends of the proxy fail no request.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http::{Message, To},
    http2::{self, Answer},
    mesh::{Description, Mesh},
    suite::Area,
    wait,
};

use super::{
    load::{Load, Named, PROTOCOLS},
    ways::{cluster, each_way, ok},
};

pub(crate) fn area() -> Area {
    Area::without_cluster("http_lifecycle")
        .alone(
            "takeover",
            "Successors take over from both proxies twice under HTTP/1 and HTTP/2 load: no request fails, clients are \
             told to move by Connection: close and GOAWAY, and the old processes end.",
            short_drain,
            takeover,
        )
        .within(Duration::from_secs(150))
        .alone(
            "terminated",
            "After SIGTERM a proxy answers the requests that are in flight, tells their clients to close, and ends.",
            short_drain,
            terminated,
        )
        .within(Duration::from_secs(150))
}

const DRAIN: Duration = Duration::from_secs(20);

fn short_drain() -> Description {
    cluster().proxy_arg(&format!("--drain-timeout={}s", DRAIN.as_secs()))
}

fn takeover(mesh: &Mesh) -> Result<()> {
    let (mut servers, mut loads) = (Vec::new(), Vec::new());
    for protocol in PROTOCOLS {
        for pod in ["far", "near"] {
            let port = mesh.unused_port();
            servers.push(Named::start(mesh, pod, port, protocol, Duration::from_millis(2))?);
            let target = mesh.service(pod).at(port);
            loads.push((
                protocol,
                Load::start(&mesh.pod("client"), target, protocol, 3, Duration::from_millis(10)),
            ));
        }
    }
    let keep_on = |more| loads.iter().try_for_each(|(_, load)| load.keep_on(more));
    keep_on(100)?;
    for generation in 2..=3 {
        for proxy in mesh.proxies() {
            proxy.take_over().with_context(|| format!("generation {generation} of {proxy}"))?;
            keep_on(100)?;
            // Nothing but the load is connected, and every client was told.
            wait::until_for(DRAIN / 2, "the old process ends with its last connection", || {
                proxy.draining().is_ok_and(|count| count == 0)
            })
            .with_context(|| format!("generation {generation} of {proxy}"))?;
        }
    }
    keep_on(100)?;
    for ((protocol, load), server) in loads.into_iter().zip(servers) {
        let outcome = load.stop();
        println!(
            "{protocol:?}: {} responses on {} connections, {} sent again",
            outcome.total(),
            outcome.connections,
            outcome.races
        );
        outcome.no_failures()?;
        ensure!(outcome.connections > 3, "the clients have not moved");
        // Nothing that was sent again had been processed.
        ensure!(
            server.requests() == outcome.total(),
            "the server has processed {} requests",
            server.requests()
        );
    }
    mesh.until_enrolled()
}

fn terminated(mesh: &Mesh) -> Result<()> {
    const SLOW: Duration = Duration::from_secs(3);
    each_way(mesh, |way| {
        let origin = way.answering(|request| {
            thread::sleep(SLOW);
            ok(request.head.target())
        })?;
        let server = way.http2(|_| Answer::http(200, "slow").after(SLOW))?;
        let mut wires = Vec::new();
        for number in 0..5 {
            let wire = way.connect(origin.port())?;
            wire.send(format!("GET /{number} HTTP/1.1\r\nHost: origin.test\r\n\r\n"))?;
            wires.push(wire);
        }
        let client = way.connect2(server.port())?;
        let pending: Vec<_> = (0..20).map(|_| client.start(http2::get("origin.test", "/"))).collect();
        wait::until("the requests have arrived", || server.requests() == 20 && origin.requests().len() == 5)?;
        let proxy = mesh.proxy(way.node);
        proxy.terminate()?;
        for (number, wire) in wires.iter_mut().enumerate() {
            let response =
                Message::final_response(wire, To::Other).with_context(|| format!("request {number}"))?;
            ensure!(response.text() == format!("/{number}"), "{response:?}");
            if way.node == "a" {
                // The client's own proxy ends.
                ensure!(response.head.values("connection") == ["close"], "{:?}", response.head);
                ensure!(wire.all()?.is_empty(), "more after the response");
            }
        }
        for pending in pending {
            ensure!(pending.wait()?.text() == "slow", "another response");
        }
        if way.node == "a" {
            wait::until("the client is told by GOAWAY", || !client.is_open())?;
        }
        let status = proxy.terminated(DRAIN / 2)?;
        ensure!(status.success(), "the proxy ended with {status}");
        proxy.revive()?;
        mesh.until_enrolled()?;
        origin.no_failures()
    })
}
