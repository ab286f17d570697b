//! What do applications notice of a proxy's end, in every form that it can have?

mod away;
mod clock;
mod draining;
mod enrolment;
mod fail_closed;
mod fail_open;
mod upgrade;

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
    Area::new("restart", two_modes)
        .alone(
            "takeover_under_load",
            "A second proxy process takes over on both nodes under load: no connection fails, running ones stay with \
             the old process until they end, and it ends after them.",
            patient,
            takeover_under_load,
        )
        .alone(
            "two_upgrades_in_a_row",
            "Under hundreds of new connections a second, to the other node and to the own, two takeovers in a row fail \
             none; lasting ones stay with the process that has them, and each process ends after its last.",
            patient,
            upgrade::twice_in_a_row,
        )
        .alone(
            "successor_is_killed",
            "A successor that is killed while it takes over, at whatever moment, takes along only what it had accepted \
             already; nobody is refused, and the next one takes over.",
            patient,
            upgrade::successor_is_killed,
        )
        .alone(
            "predecessor_is_killed",
            "A proxy that is killed while its successor takes over, at whatever moment, leaves a successor that serves, \
             and no byte in plaintext.",
            patient,
            upgrade::predecessor_is_killed,
        )
        .alone(
            "relieved_but_told",
            "For connections that a relieved process still carries, a changed policy holds at once, to the other node \
             and to the own, and they end with their pod; others go on.",
            patient,
            draining::policies_and_pods,
        )
        .alone(
            "another_version",
            "A successor with other maps of the kernel's takes over under load and fails no connection; one that finds \
             only a dead proxy's captures its pods before it detaches that one's programs: no byte in plaintext.",
            patient,
            upgrade::another_version,
        )
        .scenario(
            "relieved_drain_is_bounded",
            "A process that was relieved ignores the SIGTERM of its service manager, resets at its drain timeout what \
             is left, and says how many.",
            upgrade::drain_timeout,
        )
        .alone(
            "clock_jumps",
            "When the clock is put forward, by less and by more than a certificate's life, and back to before it was \
             issued, certificates are renewed; open connections go on, and none fails that begins afterwards.",
            clock::description,
            clock::jumps,
        )
        .alone(
            "crash_in_enrolment",
            "A proxy that is killed again and again while pods join and leave leaves nothing behind; every pod is \
             served or gone in the end, and one that was captured all the time never speaks plaintext.",
            enrolment::description,
            enrolment::crash,
        )
        .within(Duration::from_secs(150))
        .alone(
            "upgrades_while_pods_join",
            "Pods that join and leave while one proxy takes over from another are served, or not, as they should be, and \
             nobody else notices.",
            enrolment::description,
            enrolment::upgrade,
        )
        .within(Duration::from_secs(150))
        .alone(
            "control_away_and_changed",
            "While the control plane is away, what is known is served, also to new connections, and an upgrade is put \
             off; when it is back, changed policies, endpoints and pods hold, and nobody else has noticed.",
            away::description,
            away::changed_meanwhile,
        )
        .within(Duration::from_secs(600))
        .alone(
            "control_hangs",
            "A control plane that hangs and goes on is noticed by no connection, and no pod is withdrawn.",
            away::description,
            away::hangs,
        )
        .within(Duration::from_secs(600))
        .scenario(
            "sigterm_drains",
            "After SIGTERM running connections go on and new ones follow the fail mode; the proxy ends with its last \
             connection.",
            sigterm_drains,
        )
        .scenario(
            "drain_is_bounded",
            "A connection that never ends does not keep a terminated proxy alive beyond its drain timeout.",
            drain_is_bounded,
        )
        .scenario(
            "kill_fail_closed",
            "After kill -9 a pod that fails closed is refused promptly, out and in, and nothing leaves it in plaintext.",
            kill_fail_closed,
        )
        .scenario(
            "kill_fail_open",
            "After kill -9 a pod that fails open connects and is reached directly.",
            kill_fail_open,
        )
        .scenario(
            "fail_closed_under_load",
            "While a node's proxy is dead, its pods that fail closed are refused at once, out and in, under load; not \
             one byte of theirs that is not TLS is seen on the wire or at the pod, and no byte at all of new \
             connections; a restarted proxy serves them again.",
            fail_closed::under_load,
        )
        .scenario(
            "fail_open_under_load",
            "While one node's proxy is dead, traffic of and to its pods that fail open flows in all directions, also \
             from meshed clients of other nodes, and is secured again afterwards; nobody sees a failure who had no \
             connection open at the time.",
            fail_open::under_load,
        )
        .scenario(
            "hung_proxy_fails_open",
            "A proxy that hangs counts as dead: its pods that fail open are reached directly, until it goes on.",
            fail_open::hung,
        )
        .scenario(
            "hung_proxy_fails_closed",
            "While a proxy hangs, its pods that fail closed are refused, out and in, and never speak plaintext; what was \
             open waits for it and goes on.",
            fail_closed::hung,
        )
        .scenario(
            "recovery",
            "A proxy that is started after kill -9 serves the same pods by mTLS again, old listeners included, and \
             no connection falls back to plaintext meanwhile.",
            recovery,
        )
}

const DRAIN: Duration = Duration::from_secs(8);

/// Drains are ended soon.
fn two_modes() -> Description {
    patient().proxy_arg(&format!("--drain-timeout={}s", DRAIN.as_secs()))
}

/// A client and a server of either fail mode, and neighbours without a mesh.
fn patient() -> Description {
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
        ensure!(now == begun, "{} kept connections had to be opened anew", now - begun);
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
        ping(&mut running).context("on the connection that was there before")?;
    }
    drop(running);
    // Well before its drain timeout: nothing is left to drain.
    let status = proxy.terminated(DRAIN / 2)?;
    ensure!(status.success(), "the proxy ended with {status}");
    server.no_failures()?;
    proxy.revive()?;
    mesh.until_enrolled()
}

fn drain_is_bounded(mesh: &Mesh) -> Result<()> {
    let _server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let mut stubborn = mesh.pod("closed-client").connect(mesh.service("closed-server").at(80))?;
    ping(&mut stubborn)?;
    let status = mesh.proxy("a").terminated(DRAIN + wait::PROMPTLY)?;
    ensure!(status.success(), "the proxy ended with {status}");
    ensure!(ping(&mut stubborn).is_err(), "who carries this connection now?");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()
}

fn kill_fail_closed(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("closed-server").serve(8080, backends::echo())?;
    let plain = mesh.pod("plain-server").serve(8080, backends::echo())?;
    request(mesh, "plain-client", mesh.pod("closed-server").at(8080))
        .context("as long as the proxy lives")?;
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
    // Listens before the kill and stays: the new process has to learn of it.
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

/// The present process of node `b` has seen nobody come to the closed server in plaintext.
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
