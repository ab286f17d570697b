//! A pod with many requests in flight leaves room for its neighbours.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Head, Origin, Wire},
    http2::{self, Answer, Pending},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::ways::servers;

pub(crate) fn area() -> Area {
    Area::new("http_shares", limited)
        .scenario(
            "greedy_neighbour",
            "A pod that leaves thousands of requests hanging gets half of what the node allows, and 503 for the rest; \
             its neighbour's requests all succeed, and when they end everything is free again.",
            greedy_neighbour,
        )
        .scenario(
            "tunnels",
            "An open tunnel counts as a request in flight: a pod gets half of what the node allows, and 503 for the \
             rest; closed tunnels are free again.",
            tunnels,
        )
        .scenario(
            "dead_service",
            "Of the requests to a service that does not answer only a share waits, and the rest gets 503 at once; the \
             pod's requests to another service succeed meanwhile.",
            dead_service,
        )
        .scenario(
            "dead_pod",
            "Requests to a pod by its own address that does not answer share the outcome of one attempt; of those that \
             come then, only a share waits, and the rest gets 503.",
            dead_pod,
        )
}

/// Requests that may be in flight on a node, in each direction.
const LIMIT: u64 = 400;

/// Two clients on node `a`, and a server for each on both nodes.
fn limited() -> Description {
    let pods = [("far-1", "b"), ("far-2", "b"), ("near-1", "a"), ("near-2", "a")];
    servers(mesh("http-shares"), &pods)
        .proxy_arg(&format!("--max-requests={LIMIT}"))
        .pod("greedy", |pod| pod.node("a").meshed())
        .pod("modest", |pod| pod.node("a").meshed())
}

fn greedy_neighbour(mesh: &Mesh) -> Result<()> {
    const HANGING: usize = 3000;
    for (place, node) in [("far", "b"), ("near", "a")] {
        let [hanging, quick] = [1, 2].map(|number| format!("{place}-{number}"));
        let sink = http2::Server::start(mesh.pod(&hanging).netns(), 8050, |_| Answer::never())?;
        let prompt = http2::Server::start(mesh.pod(&quick).netns(), 8050, |_| Answer::http(200, "x"))?;
        let watches = [mesh.proxy("a").watch()?, mesh.proxy(node).watch()?];
        let connect = |client: &str, server: &str| {
            http2::Client::over(mesh.pod(client).connect(mesh.service(server).at(8050))?)
        };
        let greedy = (0..6).map(|_| connect("greedy", &hanging)).collect::<Result<Vec<_>>>()?;
        let mut pending: Vec<Pending> = (0..HANGING)
            .map(|number| greedy[number % greedy.len()].start(http2::get("sink.test", "/")))
            .collect();
        wait::until("the greedy pod has what it can get", || {
            let refused = pending.iter().filter(|pending| pending.is_finished()).count() as u64;
            sink.requests() + refused >= HANGING as u64
        })?;
        let in_flight = sink.requests();
        let (ended, hanging_now): (Vec<_>, Vec<_>) = pending.drain(..).partition(Pending::is_finished);
        let mut shed = 0;
        for ended in ended {
            let response = ended.wait()?;
            ensure!(response.status == 503, "{response:?}");
            shed += 1;
        }
        let call = connect("greedy", &hanging)?.send(http2::grpc("sink.test", "/test.Service/Call"))?;
        ensure!(call.grpc_status() == Some(14), "a call beyond the limit got {call:?}");

        let modest = connect("modest", &quick)?;
        let (mut latencies, mut failed) = (Vec::new(), 0);
        for _ in 0..200 {
            let begun = Instant::now();
            let response = modest.send(http2::get("quick.test", "/"))?;
            latencies.push(begun.elapsed());
            failed += u32::from(response.status != 200);
        }
        let together: Vec<_> = (0..50).map(|_| modest.start(http2::get("quick.test", "/"))).collect();
        for pending in together {
            failed += u32::from(pending.wait()?.status != 200);
        }
        latencies.sort();
        let median: Duration = latencies[latencies.len() / 2];
        println!(
            "{place}: of {HANGING} requests of the greedy pod {in_flight} are in flight and {shed} got 503; its \
             neighbour's {} all ended, {failed} without 200, the median took {median:?}",
            latencies.len() + 50
        );
        ensure!(in_flight == LIMIT / 2, "{in_flight} requests are in flight");
        ensure!(failed == 0, "{failed} requests of the neighbour failed");
        ensure!(prompt.requests() == 250, "{} requests arrived", prompt.requests());
        let [source, destination] = watches;
        let counted = [("pod", "greedy"), ("error", "loadshed")];
        source.expect("outbound_http_errors_total", &counted, f64::from(shed + 1))?;
        let denied = [("direction", "inbound"), ("pod", quick.as_str()), ("classification", "failure")];
        destination.expect("response_total", &denied, 0.0)?;

        drop((hanging_now, greedy));
        let greedy = connect("greedy", &quick)?;
        wait::until_ok("the greedy pod can send again", || {
            let response = greedy.send(http2::get("quick.test", "/"))?;
            ensure!(response.status == 200, "{}", response.status);
            Ok(())
        })?;
        let all: Vec<_> = (0..150).map(|_| greedy.start(http2::get("quick.test", "/"))).collect();
        for pending in all {
            ensure!(pending.wait()?.status == 200, "what was in flight is not free again");
        }
    }
    Ok(())
}

fn tunnels(mesh: &Mesh) -> Result<()> {
    for server in ["far-1", "near-1"] {
        let origin = Origin::start(&mesh.pod(server), mesh.unused_port(), |session| {
            if session.head()?.is_some() {
                session.wire.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weft-echo/1\r\n\r\n",
                )?;
                while !session.wire.some()?.is_empty() {}
            }
            Ok(())
        })?;
        let target = mesh.service(server).at(origin.port());
        let open = || -> Result<(u16, Wire)> {
            let mut wire = Wire::new(mesh.pod("greedy").connect(target)?);
            wire.send(
                "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: weft-echo/1\r\n\r\n",
            )?;
            let status = Head::read(&mut wire)?.status();
            Ok((status, wire))
        };
        let mut tunnels = Vec::new();
        // What other scenarios have left is free a moment later.
        wait::until_ok("the pod has what it can get", || {
            let refused = loop {
                match open()? {
                    (101, tunnel) if (tunnels.len() as u64) < LIMIT => tunnels.push(tunnel),
                    (status, _) => break status,
                }
            };
            ensure!(refused == 503, "after {} tunnels, one more got {refused}", tunnels.len());
            ensure!(tunnels.len() as u64 >= LIMIT / 2, "{} tunnels are open", tunnels.len());
            Ok(())
        })?;
        println!("{server}: {} tunnels, then 503", tunnels.len());
        ensure!(tunnels.len() as u64 == LIMIT / 2, "{} tunnels are open", tunnels.len());
        tunnels.truncate(10);
        wait::until_ok("closed tunnels are free again", || {
            let (status, tunnel) = open()?;
            ensure!(status == 101, "{status}");
            tunnels.push(tunnel);
            ensure!(tunnels.len() > 100, "not all of them yet");
            Ok(())
        })?;
    }
    Ok(())
}

/// Requests that may wait for one service: an eighth of those in flight.
const WAITING: usize = LIMIT as usize / 8;

fn dead_service(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 150;
    for (dead, alive) in [("far-1", "far-2"), ("near-1", "near-2")] {
        let port = mesh.unused_port();
        let server = http2::Server::start(mesh.pod(alive).netns(), port, |_| Answer::http(200, "x"))?;
        let proxy = mesh.proxy("a").watch()?;
        let connect =
            |service: &str| http2::Client::over(mesh.pod("greedy").connect(mesh.service(service).at(port))?);
        let (to_dead, to_alive) = (connect(dead)?, connect(alive)?);
        let pending: Vec<_> = (0..REQUESTS).map(|_| to_dead.start(http2::get("dead.test", "/"))).collect();
        wait::until("the rest has got its answer", || {
            pending.iter().filter(|pending| pending.is_finished()).count() >= REQUESTS - WAITING
        })?;
        for _ in 0..20 {
            let response = to_alive.send(http2::get("alive.test", "/"))?;
            ensure!(response.status == 200, "the other service answered {response:?}");
        }
        let statuses: Vec<_> =
            pending.into_iter().map(|pending| Ok(pending.wait()?.status)).collect::<Result<_>>()?;
        let count = |status| statuses.iter().filter(|found| **found == status).count();
        println!("{dead}: {} got 503, {} got 504", count(503), count(504));
        ensure!(count(503) == REQUESTS - WAITING && count(504) == WAITING, "{statuses:?}");
        ensure!(server.requests() == 20, "the other service got {} requests", server.requests());
        let shed = [("pod", "greedy"), ("error", "LOAD_SHED"), ("http_status", "503")];
        proxy.expect("outbound_http_route_request_statuses_total", &shed, (REQUESTS - WAITING) as f64)?;
        let (queue, port) = ("outbound_http_balancer_queue", port.to_string());
        let of_service = [("parent_name", dead), ("parent_port", port.as_str())];
        let now = mesh.proxy("a").metrics()?;
        now.expect(&format!("{queue}_latency_seconds_count"), &of_service, WAITING as f64)?;
        now.expect_some(&format!("{queue}_gate_shut_time_seconds"), &of_service)?;
        now.expect(&format!("{queue}_gate_open_time_seconds"), &of_service, 0.0)?;
        now.expect(&format!("{queue}_gate_timeout_seconds"), &of_service, 3.0)?;
    }
    Ok(())
}

fn dead_pod(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 150;
    for dead in ["far-1", "near-1"] {
        let (pod, port) = (mesh.pod(dead), mesh.unused_port());
        let rules = format!(
            "table inet dead {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}\n"
        );
        weft_vm::nft::apply(pod.netns().path(), &rules)?;
        let client = http2::Client::over(mesh.pod("greedy").connect(pod.at(port))?)?;
        let statuses = || -> Result<[usize; 2]> {
            let pending: Vec<_> = (0..REQUESTS).map(|_| client.start(http2::get("dead.test", "/"))).collect();
            let mut counts = [0; 2];
            for pending in pending {
                match pending.wait()?.status {
                    503 => counts[0] += 1,
                    504 => counts[1] += 1,
                    other => anyhow::bail!("{dead} answered {other}"),
                }
            }
            Ok(counts)
        };
        let (first, next) = (statuses()?, statuses()?);
        println!("{dead}: 503 and 504 of {REQUESTS}: {first:?}, then {next:?}");
        ensure!(first[1] > WAITING, "a burst to a pod that has not failed yet was refused: {first:?}");
        ensure!(next[0] > 0 && next[1] > 0, "{next:?}");
        weft_vm::nft::apply(pod.netns().path(), "delete table inet dead\n")?;
    }
    Ok(())
}
