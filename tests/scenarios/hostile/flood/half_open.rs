//! Half-open connections from invented addresses.

use std::thread;

use anyhow::{Context, Result, ensure};
use weft_tests::{backends, mesh::Mesh};

use super::{
    super::{others_are_served, python},
    MemoryBefore,
};

const SYNS: usize = 100_000;
/// More descriptors that the proxy may have: it keeps sockets ready for clients that were served meanwhile.
const MORE_DESCRIPTORS: usize = 400;
/// The proxy's inbound port.
const INBOUND: u16 = 15006;

pub(super) fn half_open(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let proxy = mesh.proxy("b");
    let (memory, descriptors, watch) = (MemoryBefore::of(proxy)?, proxy.descriptors()?, proxy.watch()?);

    for port in [server.port(), INBOUND] {
        let (to, port, count) = (far.v4.to_string(), port.to_string(), (SYNS / 2).to_string());
        let arguments = [to.as_str(), port.as_str(), count.as_str()];
        thread::scope(|scope| -> Result<()> {
            let flood = scope.spawn(|| python(&stranger, include_str!("half_open.py"), &arguments));
            while !flood.is_finished() {
                others_are_served(mesh)?;
            }
            flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))?.map(drop)
        })
        .with_context(|| format!("port {port}"))?;
    }
    others_are_served(mesh)?;
    server.untouched()?;

    // As a control: the SYNs did reach the node.
    watch.eventually(|now| {
        let seen = now.value("weft_capture_total", &[("hook", "sk_lookup"), ("outcome", "redirected")]);
        ensure!(seen >= (SYNS / 4) as f64, "only {seen} SYNs arrived");
        Ok(())
    })?;
    let netstat = far.netns().run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
    if let Some(cookies) = counter(&netstat, "SyncookiesSent") {
        println!("     {cookies} SYN cookies sent");
    }
    memory.expect_little_growth()?;
    let more = proxy.descriptors()?.saturating_sub(descriptors);
    ensure!(more < MORE_DESCRIPTORS, "{more} more descriptors");
    Ok(())
}

/// A counter of /proc/net/netstat: a line of names, a line of values.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let index = lines.next()?.split(' ').position(|found| found == name)?;
    lines.next()?.split(' ').nth(index)?.parse().ok()
}
