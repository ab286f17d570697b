//! Ends, restarts and upgrades of the proxy and the control plane, and what applications notice of them.

mod away;
mod clock;
mod draining;
mod enrolment;
mod fail_closed;
mod fail_open;
mod killed_in_takeover;
mod loads;
mod upgrade;
mod versions;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("restart", short_drain)
        .alone(
            "takeover_under_load",
            "A second proxy process takes over on both nodes under load: no connection fails, open ones stay with the \
             old process until they end, and it ends after them.",
            two_modes,
            takeover_under_load,
        )
        .alone(
            "two_upgrades_in_a_row",
            "Two takeovers in a row fail none of hundreds of new connections per second, to the same and to another \
             node; lasting connections stay with their process, and each process ends after its last one.",
            two_modes,
            upgrade::two_in_a_row,
        )
        .alone(
            "successor_is_killed",
            "A successor that is killed at any time of a takeover breaks only the connections that it has accepted \
             itself; no connection is refused, and the next successor takes over.",
            two_modes,
            killed_in_takeover::successor,
        )
        .alone(
            "predecessor_is_killed",
            "A proxy that is killed at any time of a takeover leaves a successor that serves, and not one byte of \
             plaintext is sent.",
            two_modes,
            killed_in_takeover::predecessor,
        )
        .alone(
            "draining_follows_changes",
            "A changed policy or a deleted pod ends the connections of a draining process at once, on the same and to \
             another node; others go on.",
            two_modes,
            draining::policies_and_pods,
        )
        .alone(
            "upgrade_to_another_version",
            "A successor with other eBPF maps takes over under load and no connection fails.",
            two_modes,
            versions::upgrade,
        )
        .alone(
            "another_version_after_a_kill",
            "A proxy with other eBPF maps that finds the programs of a killed one captures its pods before it detaches \
             them: not one byte of plaintext is sent.",
            two_modes,
            versions::after_kill,
        )
        .scenario(
            "takeover_drain_is_bounded",
            "After a takeover the old process ignores the SIGTERM of its service manager, resets the remaining \
             connections at its drain timeout, and logs their number.",
            upgrade::drain_timeout,
        )
        .alone(
            "clock_jumps",
            "When the clock is set forward, by less and by more than the lifetime of a certificate, and back to \
             before it was issued, certificates are renewed; open connections go on, and later ones do not fail.",
            clock::description,
            clock::jumps,
        )
        .alone(
            "crash_in_enrolment",
            "A proxy that is killed repeatedly while pods join and leave leaves nothing behind; in the end every pod \
             is served or not, as it should be, and a pod that was meshed all the time never sends plaintext.",
            enrolment::description,
            enrolment::crash,
        )
        .within(Duration::from_secs(150))
        .alone(
            "upgrades_while_pods_join",
            "Pods that join and leave during a takeover are served, or not, as they should be, and other pods notice \
             nothing.",
            enrolment::description,
            enrolment::upgrade,
        )
        .within(Duration::from_secs(150))
        .alone(
            "control_away_and_changed",
            "While the control plane is away, known destinations are served, also to new connections, and an upgrade \
             is postponed; when it is back, changed policies, endpoints and pods take effect, and no connection has \
             failed.",
            away::description,
            away::changed_meanwhile,
        )
        .within(Duration::from_secs(600))
        .alone(
            "control_hangs",
            "A control plane that hangs and continues affects no connection, and no pod is announced as unmeshed.",
            away::description,
            away::hangs,
        )
        .within(Duration::from_secs(600))
        .scenario(
            "sigterm_drains",
            "After SIGTERM open connections go on and new ones follow the fail mode; the proxy ends with its last \
             connection.",
            sigterm_drains,
        )
        .scenario(
            "drain_is_bounded",
            "After SIGTERM a proxy ends at its drain timeout, although a connection is still open.",
            drain_is_bounded,
        )
        .scenario(
            "kill_fail_closed",
            "After kill -9 connections from and to a pod that fails closed are refused promptly, and it sends no \
             plaintext.",
            kill_fail_closed,
        )
        .scenario(
            "kill_fail_open",
            "After kill -9 connections from and to a pod that fails open go directly.",
            kill_fail_open,
        )
        .scenario(
            "fail_closed_under_load",
            "While a node's proxy is dead, connections from and to its pods that fail closed are refused at once, \
             under load; a capture shows nothing but TLS, and not one byte of new connections; a restarted proxy \
             serves the pods again.",
            fail_closed::under_load,
        )
        .scenario(
            "fail_open_under_load",
            "While a node's proxy is dead, traffic from and to its pods that fail open goes on, also from meshed \
             clients of other nodes, and is encrypted again afterwards; only connections that were open at the time \
             fail.",
            fail_open::under_load,
        )
        .scenario(
            "hung_proxy_fails_open",
            "A proxy that hangs counts as dead: its pods that fail open are reached directly until it continues.",
            fail_open::hung,
        )
        .scenario(
            "hung_proxy_fails_closed",
            "While a proxy hangs, connections from and to its pods that fail closed are refused, and the pods send no \
             plaintext; open connections wait and go on.",
            fail_closed::hung,
        )
        .scenario(
            "recovery",
            "A proxy that is started after kill -9 serves the same pods by mTLS again, with their existing \
             listeners, and no connection falls back to plaintext in the meantime.",
            recovery,
        )
}

const DRAIN: Duration = Duration::from_secs(8);

/// [`two_modes`] with a short drain timeout.
fn short_drain() -> Description {
    two_modes().proxy_arg(&format!("--drain-timeout={}s", DRAIN.as_secs()))
}

/// A client and servers of each fail mode, and unmeshed pods.
fn two_modes() -> Description {
    ["closed", "open"]
        .into_iter()
        .fold(mesh("restart"), |cluster, mode| {
            let (client, server) = (format!("{mode}-client"), format!("{mode}-server"));
            let near = format!("{mode}-near");
            cluster
                .pod(&client, |pod| pod.node("a").meshed().fail_mode(mode))
                .pod(&server, |pod| pod.node("b").meshed().fail_mode(mode))
                .pod(&near, |pod| pod.node("a").meshed().fail_mode(mode))
                .service(&server, |service| service.port(80, 8080))
                .service(&near, |service| service.port(80, 8080))
        })
        .pod("plain-client", |pod| pod.node("a").unmeshed())
        .pod("plain-server", |pod| pod.node("b").unmeshed())
}

fn ping(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"ping");
    Ok(())
}

fn request(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<()> {
    ping(&mut mesh.pod(client).connect(target)?)
}

fn takeover_under_load(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let targets = [mesh.service("closed-server").at(80), mesh.pod("closed-server").at6(8080)];
    let client = mesh.pod("closed-client");
    let start = |style| {
        targets.map(|target| Steady::start(client.netns(), target, style, 4, Duration::from_millis(2)))
    };
    let (fresh, kept) = (start(Style::Fresh), start(Style::Kept));
    let all = || fresh.iter().chain(&kept);
    all().try_for_each(|load| load.keep_on(100))?;
    for proxy in mesh.proxies() {
        let (before, begun) = (proxy.pid()?, kept.iter().map(|load| load.so_far().connections).sum::<u64>());
        proxy.take_over().with_context(|| proxy.to_string())?;
        ensure!(proxy.pid()? != before, "{proxy}: still the same process");
        all().try_for_each(|load| load.keep_on(200))?;
        let now = kept.iter().map(|load| load.so_far().connections).sum::<u64>();
        ensure!(now == begun, "{} lasting connections had to be reopened", now - begun);
    }
    for load in kept.into_iter().chain(fresh) {
        load.stop().no_failures()?;
    }
    for proxy in mesh.proxies() {
        wait::until("the old process ends after its connections", || {
            proxy.draining().is_ok_and(|count| count == 0)
        })?;
    }
    nothing_in_plaintext(mesh)?;
    server.no_failures()?;
    mesh.until_enrolled()
}

fn sigterm_drains(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let target = mesh.service("closed-server").at(80);
    let mut running = mesh.pod("closed-client").connect(target)?;
    ping(&mut running)?;
    let proxy = mesh.proxy("a");
    proxy.terminate()?;
    wait::until_for(wait::PROMPTLY, "new connections are refused", || {
        request(mesh, "closed-client", target).is_err()
    })?;
    for _ in 0..20 {
        ping(&mut running).context("on the open connection")?;
    }
    drop(running);
    // Well before its drain timeout, since nothing is left to drain.
    let status = proxy.terminated(DRAIN / 2)?;
    ensure!(status.success(), "the proxy ended with {status}");
    server.no_failures()?;
    proxy.revive()?;
    mesh.until_enrolled()
}

fn drain_is_bounded(mesh: &Mesh) -> Result<()> {
    let _server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let mut lasting = mesh.pod("closed-client").connect(mesh.service("closed-server").at(80))?;
    ping(&mut lasting)?;
    let status = mesh.proxy("a").terminated(DRAIN + wait::PROMPTLY)?;
    ensure!(status.success(), "the proxy ended with {status}");
    ensure!(ping(&mut lasting).is_err(), "a connection of the ended process still works");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()
}

fn kill_fail_closed(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let plain = mesh.pod("plain-server").serve(8080, backends::echo())?;
    request(mesh, "plain-client", mesh.pod("closed-server").at(8080)).context("while the proxy runs")?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    let accepted = (server.accepted(), plain.accepted());
    let ways = [
        ("closed-client", mesh.service("closed-server").at(80)),
        ("closed-client", mesh.pod("plain-server").at(8080)),
        ("closed-client", mesh.pod("plain-server").at6(8080)),
        ("plain-client", mesh.pod("closed-server").at(8080)),
        ("plain-client", mesh.pod("closed-server").at6(8080)),
    ];
    for (client, target) in ways {
        let refused = wait::promptly("the refusal", || mesh.pod(client).connect(target))?;
        let kind = refused.map(drop).map_err(|e| e.kind());
        ensure!(kind == Err(ErrorKind::ConnectionRefused), "{client} to {target}: {kind:?}");
    }
    ensure!((server.accepted(), plain.accepted()) == accepted, "an application saw a connection");
    revive(mesh)
}

fn kill_fail_open(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("open-server").serve(8080, backends::echo())?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    for target in [
        mesh.service("open-server").at(80),
        mesh.service("open-server").at6(80),
        mesh.pod("open-server").at(8080),
    ] {
        for client in ["open-client", "plain-client"] {
            request(mesh, client, target).with_context(|| format!("{client} to {target}"))?;
        }
    }
    server.no_failures()?;
    revive(mesh)
}

fn recovery(mesh: &Mesh) -> Result<()> {
    // The listener is older than the new process, which has to find it.
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    for proxy in mesh.proxies() {
        proxy.kill()?;
    }
    revive(mesh)?;
    let proxy = mesh.proxy("b").watch()?;
    let target = mesh.service("closed-server").at(80);
    wait::until_ok("a connection after the restart", || request(mesh, "closed-client", target))?;
    let secured = [("direction", "inbound"), ("pod", "closed-server"), ("tls", "true")];
    proxy.expect_some("tcp_open_total", &secured)?;
    nothing_in_plaintext(mesh)?;
    server.no_failures()
}

/// Fails if the current process of node `b` has counted plaintext to the closed server.
fn nothing_in_plaintext(mesh: &Mesh) -> Result<()> {
    let plaintext =
        [("direction", "inbound"), ("peer", "src"), ("pod", "closed-server"), ("tls", "no_identity")];
    mesh.proxy("b").metrics()?.expect("tcp_open_total", &plaintext, 0.0)
}

fn revive(mesh: &Mesh) -> Result<()> {
    for proxy in mesh.proxies() {
        proxy.revive().with_context(|| proxy.to_string())?;
    }
    mesh.until_enrolled()
}
