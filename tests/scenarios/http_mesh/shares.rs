//! A pod with many requests in flight leaves room for its neighbours.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weft_tests::{
    http2::{self, Answer, Pending},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::ways::servers;

pub(crate) fn area() -> Area {
    Area::new("http_shares", limited).scenario(
        "greedy_neighbour",
        "A pod that leaves thousands of requests hanging gets half of what the node allows, and 503 for the rest; its \
         neighbour's requests all succeed, and when they end everything is free again.",
        greedy_neighbour,
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
