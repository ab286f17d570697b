//! What a tap costs the requests: figures, for docs/performance.md.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use weft_tests::{
    bench::{load::schedule::Schedule, samples::Samples, usage::Usage},
    http::Wire,
    mesh::Mesh,
    tap::tap,
};

use crate::http_mesh::{
    ask,
    ways::{Way, each_way, ok},
};

const CLIENTS: usize = 8;
/// Requests per second of all clients.
const RATE: u32 = 2_000;
const LENGTH: Duration = Duration::from_secs(4);
const TURNS: usize = 2;

pub(super) fn cost(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|_| ok([b'x'; 1024]))?;
        let mut wires: Vec<Wire> = (0..CLIENTS).map(|_| way.connect(origin.port())).collect::<Result<_>>()?;
        run(way, &mut wires, Duration::from_secs(1)).context("warming up")?;
        for turn in 0..TURNS {
            let without = run(way, &mut wires, LENGTH)?;
            let client =
                tap(mesh, "a", &["client"])?.direction("outbound").rps(100).headers_but("").open()?;
            let server = tap(mesh, way.node, &[way.server.name()])?
                .direction("inbound")
                .rps(100)
                .headers_but("")
                .open()?;
            let with = run(way, &mut wires, LENGTH)?;
            let shown = client.calls().len();
            println!(
                "{}, turn {turn}: without a tap {without}; with one of each end {with}; {shown} of {} requests shown",
                way.server.name(),
                with.requests
            );
            let most = 100 * (usize::try_from(LENGTH.as_secs())? + 3);
            ensure!((100..=most).contains(&shown), "{shown} requests are shown, at most {most} should be");
            ensure!(
                (100..=most).contains(&server.calls().len()),
                "{} at the server's end",
                server.calls().len()
            );
        }
        Ok(())
    })
}

struct Figures {
    requests: usize,
    p50: f64,
    p99: f64,
    /// CPU time of both proxies for each request, in microseconds.
    processor: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, processor, .. } = self;
        write!(f, "p50 {p50:.0} µs, p99 {p99:.0} µs, CPU {processor:.0} µs per request")
    }
}

/// All requests are answered; durations count from when they were due.
fn run(way: &Way<'_>, wires: &mut [Wire], length: Duration) -> Result<Figures> {
    let pids: Vec<u32> = way.mesh.proxies().iter().map(|proxy| proxy.pid()).collect::<Result<_>>()?;
    let before = Usage::of(&pids)?;
    let start = Instant::now();
    let rate = RATE / u32::try_from(wires.len())?;
    let durations: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = wires
            .iter_mut()
            .map(|wire| {
                scope.spawn(move || {
                    let mut schedule = Schedule::new(start, rate, length);
                    let mut durations = Vec::new();
                    while let Some(due) = schedule.next_due() {
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        schedule.take(due);
                        ensure!(ask(wire, "/cost", "")?.head.status() == 200);
                        durations.push(due.elapsed());
                    }
                    Ok(durations)
                })
            })
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let used = Usage::of(&pids)?.processor_since(&before);
    let requests = durations.len();
    let mut samples = Samples::with_room(requests);
    durations.into_iter().for_each(|duration| samples.push(duration));
    let percentiles = samples.percentiles().context("no requests")?;
    #[allow(clippy::cast_precision_loss)]
    let processor = used.as_secs_f64() * 1e6 / requests as f64;
    Ok(Figures { requests, p50: percentiles.p50, p99: percentiles.p99, processor })
}
