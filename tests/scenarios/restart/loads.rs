//! New and lasting connections under which proxies are replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Server},
    capture::{Capture, tls_records},
    load::{Steady, Style},
    mesh::{Mesh, Pod},
    wait,
};

/// Clients that open new connections, to three targets.
pub(super) const FRESH_CLIENTS: usize = 6;
/// Lasting connections to each target.
const KEPT_CLIENTS: usize = 2;

/// Clients of the other node's server, over both families, and of the server on their own node.
pub(super) struct Loads {
    fresh: Vec<Steady>,
    kept: Vec<Steady>,
    begun: Instant,
}

impl Loads {
    pub(super) fn start(mesh: &Mesh) -> Result<Self> {
        let client = mesh.pod("closed-client");
        let (far, near) = (mesh.service("closed-server").at(80), mesh.service("closed-near").at(80));
        let targets = [far, mesh.pod("closed-server").at6(8080), near];
        let start = |style, clients, pause| {
            let pause = Duration::from_millis(pause);
            targets.iter().map(|to| Steady::start(client.netns(), *to, style, clients, pause)).collect()
        };
        let loads = Self {
            fresh: start(Style::Fresh, FRESH_CLIENTS / targets.len(), 3),
            kept: start(Style::Kept, KEPT_CLIENTS, 5),
            begun: Instant::now(),
        };
        loads.keep_on(50)?;
        Ok(loads)
    }

    pub(super) fn keep_on(&self, more: u64) -> Result<()> {
        self.fresh.iter().chain(&self.kept).try_for_each(|load| load.keep_on(more))
    }

    /// Stops the clients. Fails if a connection failed or a lasting one had to be replaced.
    pub(super) fn no_failures(self) -> Result<()> {
        self.at_most_resets(0)
    }

    /// The same, but up to `max` new connections may have been reset; none may have been refused.
    pub(super) fn at_most_resets(self, max: u64) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (mut connections, mut failed) = (0, 0);
        for load in self.fresh {
            let outcome = load.stop();
            ensure!(outcome.failures.keys().all(|error| error.contains("reset")), "{outcome:?}");
            connections += outcome.connections;
            failed += outcome.failures.values().sum::<u64>();
        }
        ensure!(failed <= max, "{failed} of {connections} connections failed");
        for load in self.kept {
            let outcome = load.stop();
            outcome.no_failures()?;
            let is_lasting = outcome.connections == KEPT_CLIENTS as u64;
            ensure!(is_lasting, "lasting connections had to be reopened: {outcome:?}");
        }
        let rate = connections as f64 / seconds;
        println!("{connections} connections, {rate:.0} per second, {failed} failed");
        Ok(())
    }
}

/// The servers of [`Loads`].
pub(super) fn serve(mesh: &Mesh) -> Result<Vec<Server>> {
    ["closed-server", "closed-near"]
        .map(|pod| mesh.pod(pod).serve(8080, backends::echo()))
        .into_iter()
        .collect()
}

/// Waits until no old process is left.
pub(super) fn until_drained(mesh: &Mesh) -> Result<()> {
    mesh.proxies().iter().try_for_each(|proxy| {
        wait::until("the old processes end after their connections", || {
            proxy.draining().is_ok_and(|count| count == 0)
        })
    })
}

/// Fails if anything but TLS records went to or from the server; returns the number of records.
pub(super) fn only_tls(wire: Capture, server: &Pod) -> Result<usize> {
    let mut records = 0;
    for (ends, stream) in wire.finish()?.of(server.v4.into(), 8080).streams() {
        records += tls_records(&stream).with_context(|| format!("plaintext: {ends:?}"))?.whole;
    }
    ensure!(records > 0, "nothing was captured");
    Ok(records)
}
