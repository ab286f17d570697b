//! Attacks by HTTP: on the attacker's own proxy, on the proxy of an unmeshed attacker's victim, and by an application on
//! its clients.
//!
//! Each attack runs while a neighbour, which uses the same two proxies, sends requests. None of them may fail, and the
//! proxies' memory is bounded. The neighbour's latency and the memory are printed.

mod bodies;
mod frames;
mod heads;
mod neighbour;
mod readers;
mod servers;
mod streams;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    census,
    http::Origin,
    mesh::{Description, Mesh, Pod, Watch, mesh},
    suite::Area,
};

use self::neighbour::Neighbour;

pub(super) fn areas() -> [Area; 4] {
    [heads::area(), bodies::area(), frames::area(), servers::area()]
}

/// How long a head may take here.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// `mallory` is meshed and `stranger` is not; both attack `victim`, which is on the other node. `bystander` is on
/// mallory's node and sends requests to `neighbour`, which is on the victim's.
fn cluster() -> Description {
    mesh("hostile-http")
        .proxy_arg(&format!("--http-head-timeout={}s", HEAD_TIMEOUT.as_secs()))
        .pod("mallory", |pod| pod.node("a").meshed())
        .pod("stranger", |pod| pod.node("a").unmeshed())
        .pod("bystander", |pod| pod.node("a").meshed())
        .pod("victim", |pod| pod.node("b").meshed())
        .pod("neighbour", |pod| pod.node("b").meshed())
}

/// An attacker, and the proxy that reads what it sends.
struct Attacker<'a> {
    pod: Pod<'a>,
    node: &'static str,
    metric: &'static str,
    /// The pod by whose name the proxy counts it.
    counted: &'static str,
}

/// Runs an attack by the meshed pod, which meets its own proxy, and by the unmeshed one, which meets the victim's.
fn by_each(mesh: &Mesh, mut attack: impl FnMut(&Attacker<'_>) -> Result<()>) -> Result<()> {
    for (name, node, metric, counted) in [
        ("mallory", "a", "outbound_http_errors_total", "mallory"),
        ("stranger", "b", "inbound_http_errors_total", "victim"),
    ] {
        attack(&Attacker { pod: mesh.pod(name), node, metric, counted })
            .with_context(|| format!("by {name}"))?;
    }
    Ok(())
}

impl Attacker<'_> {
    /// Checks that the attack was counted, and that a line in the log has the peer and the reason.
    fn noticed(&self, mesh: &Mesh, watch: &Watch, error: &str, reason: &str) -> Result<()> {
        watch.expect_some(self.metric, &[("pod", self.counted), ("error", error)])?;
        let peer = format!("peer={}", self.pod.v4);
        let line = mesh.proxy(self.node).log().expect_line(&[self.counted, &peer, reason])?;
        println!("    {}", line.split_once(" WARN ").map_or(line.as_str(), |(_, line)| line.trim()));
        let lines = mesh.proxy(self.node).log().text().lines().filter(|line| line.contains(reason)).count();
        ensure!(lines < MAX_LINES, "{lines} lines with {reason:?}");
        Ok(())
    }
}

/// A burst of lines, and one per second of an attack.
const MAX_LINES: usize = 40;

/// Runs an attack while the neighbour sends requests. The proxies may grow by `growth` MiB meanwhile.
fn survive<T>(mesh: &Mesh, what: &str, growth: u64, attack: impl FnOnce() -> Result<T>) -> Result<T> {
    let neighbour = Neighbour::start(mesh)?;
    thread::sleep(Duration::from_secs(1));
    let before = neighbour.take()?;
    let growing = AtomicBool::new(true);
    let (result, grown) = thread::scope(|scope| {
        let peaks = scope.spawn(|| peaks(mesh, &growing));
        let result = attack();
        growing.store(false, Ordering::Relaxed);
        (result, peaks.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)))
    });
    let result = result.with_context(|| what.to_owned())?;
    let grown = grown?;
    let during = neighbour.take().with_context(|| format!("the neighbour during: {what}"))?;
    println!(
        "    {what}: memory of the proxies +{:.1} and +{:.1} MiB; the neighbour's p50 {before}, during {during}",
        mib(grown[0]),
        mib(grown[1])
    );
    for bytes in grown {
        ensure!(bytes <= growth << 20, "{what}: a proxy grew by {:.1} MiB, more than {growth}", mib(bytes));
    }
    Ok(result)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// By how much each proxy grows at most while `growing`.
fn peaks(mesh: &Mesh, growing: &AtomicBool) -> Result<Vec<u64>> {
    let pids = mesh.proxies().iter().map(|proxy| proxy.pid()).collect::<Result<Vec<_>>>()?;
    let memory = || pids.iter().map(|pid| census::memory_of(*pid)).collect::<Result<Vec<_>>>();
    let before = memory()?;
    let mut peaks = vec![0; before.len()];
    while growing.load(Ordering::Relaxed) {
        for ((peak, now), before) in peaks.iter_mut().zip(memory()?).zip(&before) {
            *peak = (*peak).max(now.saturating_sub(*before));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(peaks)
}

/// An application that answers every HTTP/1 request.
fn answering(mesh: &Mesh) -> Result<Origin> {
    let answer = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok";
    Origin::answering(&mesh.pod("victim"), mesh.unused_port(), |_| answer.to_vec())
}
