//! Changes of pods, services and policies while applications run.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Outcome, Pattern, Steady, Style},
    mesh::{Description, Mesh, Pod, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("change", changing)
        .scenario(
            "join_under_load",
            "A client and a server that join the mesh under load lose no connection, and new connections are \
             encrypted.",
            join_under_load,
        )
        .scenario(
            "leave_under_load",
            "A client and a server that leave the mesh under load lose no connection.",
            leave_under_load,
        )
        .scenario(
            "rejoin_keeps_connections",
            "A server that leaves the mesh and joins again keeps the connections that its proxy has served all the time, \
             of its own and of another node, though they are quiet at times.",
            rejoin_keeps_connections,
        )
        .scenario(
            "rejoin_at_once",
            "A server that leaves the mesh and joins again at once greets every client, of its own and of another node.",
            rejoin_at_once,
        )
        .scenario(
            "existing_listener",
            "A server that has listened since before its pod was meshed is reached through the mesh.",
            existing_listener,
        )
        .scenario(
            "enrollment_is_quick",
            "A running pod is served soon after its manifest meshes it.",
            enrollment_is_quick,
        )
        .scenario(
            "endpoints_come_and_go",
            "Connections to a service reach a pod that has been added, and no longer one that has been removed.",
            endpoints_come_and_go,
        )
        .alone(
            "address_changes",
            "A running pod whose address changes is reached at the new address by mTLS and never in plaintext; \
             clients of its service lose connections only at the time of the change.",
            renumbered,
            address_changes,
        )
        .scenario(
            "policy_changes",
            "A changed policy applies to the next connection and ends open connections that it denies.",
            policy_changes,
        )
        .scenario(
            "service_is_headless",
            "The addresses behind the name of a headless service are reached by mTLS.",
            service_is_headless,
        )
}

/// Pods that are unmeshed at first, and some that are meshed.
fn changing() -> Description {
    mesh("change")
        .pod("caller", |pod| pod.node("a").meshed())
        .pod("joiner", |pod| pod.node("a"))
        .pod("joiner-server", |pod| pod.node("b"))
        .pod("existing", |pod| pod.node("b"))
        .pod("enrolled", |pod| pod.node("b"))
        .pod("policy", |pod| pod.node("b").meshed())
        .pod("rejoins", |pod| pod.node("b").meshed())
        .pod("choice-1", |pod| pod.node("b").meshed().app("choice"))
        .pod("single", |pod| pod.node("b").meshed())
        .service("joiner-server", |service| service.port(80, 8080))
        .service("choice", |service| service.port(80, 8080))
        .service("single", |service| service.headless().port(8080, 8080))
}

/// New and lasting connections from `client` to both targets.
fn loads(client: &Pod, targets: [SocketAddr; 2]) -> Vec<Steady> {
    let mut loads = Vec::new();
    for target in targets {
        for style in [Style::Fresh, Style::Kept] {
            loads.push(Steady::start(client.netns(), target, style, 4, Duration::from_millis(5)));
        }
    }
    loads
}

fn keep_on(loads: &[Steady]) -> Result<()> {
    loads.iter().try_for_each(|load| load.keep_on(100))
}

fn stop_without_failures(loads: Vec<Steady>) -> Result<()> {
    for load in loads {
        load.stop().no_failures()?;
    }
    Ok(())
}

/// The number of encrypted connections of the joining client.
fn encrypted(mesh: &Mesh) -> Result<f64> {
    let labels = [("direction", "outbound"), ("peer", "dst"), ("pod", "joiner"), ("tls", "true")];
    Ok(mesh.proxy("a").metrics()?.value("tcp_open_total", &labels))
}

fn join_under_load(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("joiner"), mesh.pod("joiner-server"));
    let server = pod.serve(8080, backends::echo())?;
    let loads = loads(&client, [mesh.service("joiner-server").at(80), pod.at6(8080)]);
    keep_on(&loads)?;
    // First the client joins, then the server.
    for joins in ["joiner", "joiner-server"] {
        mesh.change_pod(joins, |pod| pod.meshed())?;
        mesh.until_enrolled()?;
        keep_on(&loads)?;
    }
    wait::until("new connections are encrypted", || encrypted(mesh).is_ok_and(|count| count > 0.0))?;
    keep_on(&loads)?;
    stop_without_failures(loads)?;
    server.no_failures()
}

fn leave_under_load(mesh: &Mesh) -> Result<()> {
    for joins in ["joiner", "joiner-server"] {
        mesh.change_pod(joins, |pod| pod.meshed())?;
    }
    mesh.until_enrolled()?;
    let (client, pod) = (mesh.pod("joiner"), mesh.pod("joiner-server"));
    let server = pod.serve(8080, backends::echo())?;
    let loads = loads(&client, [mesh.service("joiner-server").at(80), pod.at6(8080)]);
    keep_on(&loads)?;
    // The server leaves first: clients must learn that it has no identity any more without losing a connection.
    for leaves in ["joiner-server", "joiner"] {
        mesh.change_pod(leaves, |pod| pod.unmeshed())?;
        mesh.until_enrolled()?;
        keep_on(&loads)?;
    }
    let before = encrypted(mesh)?;
    keep_on(&loads)?;
    ensure!(encrypted(mesh)? == before, "connections are still encrypted after both have left");
    stop_without_failures(loads)?;
    server.no_failures()
}

fn rejoin_keeps_connections(mesh: &Mesh) -> Result<()> {
    // Long enough that connections which do not go through the proxy would be closed.
    const QUIET: Duration = Duration::from_millis(100);
    let pod = mesh.pod("rejoins");
    let server = pod.serve(8080, backends::echo())?;
    let call = |client| Steady::start(mesh.pod(client).netns(), pod.at(8080), Style::Kept, 4, QUIET);
    let loads = ["caller", "single"].map(call);
    let keep_on = || loads.iter().try_for_each(|load| load.keep_on(20));
    keep_on()?;
    mesh.change_pod("rejoins", |pod| pod.unmeshed())?;
    mesh.until_enrolled()?;
    mesh.change_pod("rejoins", |pod| pod.meshed())?;
    mesh.until_enrolled()?;
    keep_on()?;
    stop_without_failures(loads.into())?;
    server.no_failures()
}

/// The server speaks first: no byte of a client tells the proxies what it takes the server for.
fn rejoin_at_once(mesh: &Mesh) -> Result<()> {
    const GREETING: &str = "220 at your service\r\n";
    let pod = mesh.pod("rejoins");
    let server = pod.serve(8081, backends::banner(GREETING))?;
    let clients = ["caller", "single"].map(|name| mesh.pod(name));
    let greet = |client: &Pod| -> Result<()> {
        let mut greeting = vec![0; GREETING.len()];
        let mut stream = client.connect(pod.at(8081))?;
        let read = wait::promptly("a greeting", || stream.read_exact(&mut greeting))?;
        read.with_context(|| format!("{} is not greeted", client.name()))?;
        ensure!(greeting == GREETING.as_bytes(), "{greeting:?}");
        Ok(())
    };
    for pause in [100, 300, 500] {
        mesh.change_pod("rejoins", |pod| pod.unmeshed())?;
        std::thread::sleep(Duration::from_millis(pause));
        mesh.change_pod("rejoins", |pod| pod.meshed())?;
        // It leaves for 3 s, then joins.
        let changed = Instant::now() + Duration::from_secs(4);
        while Instant::now() < changed {
            clients.iter().try_for_each(greet)?;
        }
        mesh.until_enrolled()?;
    }
    server.no_failures()
}

fn existing_listener(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("existing");
    let servers = [
        pod.serve(8080, backends::echo())?,
        pod.serve_on((pod.v4, 8081).into(), backends::echo())?,
        pod.serve_on((pod.v6, 8082).into(), backends::echo())?,
    ];
    let private = pod.serve_on("127.0.0.1:8083".parse()?, backends::echo())?;
    mesh.change_pod("existing", |pod| pod.meshed().policy("all-authenticated"))?;
    mesh.until_enrolled()?;
    let proxy = mesh.proxy("b").watch()?;
    let caller = mesh.pod("caller");
    for target in [pod.at(8080), pod.at6(8080), pod.at(8081), pod.at6(8082)] {
        // Until the caller's proxy knows, connections are made in plaintext and refused.
        wait::until_ok(&format!("an echo of {target}"), || echo(&caller, target))?;
    }
    proxy.expect_some("tcp_open_total", &[("direction", "inbound"), ("pod", "existing"), ("tls", "true")])?;
    ensure!(
        echo(&caller, pod.at(8083)).is_err() && private.accepted() == 0,
        "the private listener was reached"
    );
    servers.iter().try_for_each(|server| server.no_failures())
}

fn echo(client: &Pod, target: SocketAddr) -> Result<()> {
    let mut stream = client.connect(target)?;
    let mut message = [0; 300];
    Pattern::new(2).fill(&mut message);
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    Ok(Pattern::new(2).check(&message)?)
}

fn enrollment_is_quick(mesh: &Mesh) -> Result<()> {
    let begun = Instant::now();
    mesh.change_pod("enrolled", |pod| pod.meshed())?;
    mesh.until_enrolled()?;
    println!("{:.0} ms from the manifest's change to service", begun.elapsed().as_secs_f64() * 1e3);
    ensure!(begun.elapsed() < wait::PROMPTLY);
    Ok(())
}

/// Which pod answers.
fn answer(mesh: &Mesh) -> Result<String> {
    let mut name = String::new();
    mesh.pod("caller").connect(mesh.service("choice").at(80))?.read_to_string(&mut name)?;
    Ok(name)
}

fn endpoints_come_and_go(mesh: &Mesh) -> Result<()> {
    let first = mesh.pod("choice-1").serve(8080, backends::name("choice-1"))?;
    ensure!(answer(mesh)? == "choice-1");
    let pod = mesh.add_pod("choice-2", |pod| pod.node("a").meshed().app("choice"))?;
    let second = pod.serve(8080, backends::name("choice-2"))?;
    wait::until("the new pod is used as well", || answer(mesh).is_ok_and(|name| name == "choice-2"))?;
    wait::until("the old pod is used as well", || answer(mesh).is_ok_and(|name| name == "choice-1"))?;
    first.no_failures()?;

    // The old pod leaves the service, then the cluster.
    mesh.change_pod("choice-1", |pod| pod.app("nobody"))?;
    wait::until_ok("the old pod is no longer used", || {
        for _ in 0..20 {
            ensure!(answer(mesh)? == "choice-2");
        }
        Ok(())
    })?;
    mesh.remove_pod("choice-1")?;
    for _ in 0..20 {
        ensure!(answer(mesh)? == "choice-2");
    }
    second.no_failures()
}

fn renumbered() -> Description {
    mesh("address")
        .pod("caller", |pod| pod.node("a").meshed())
        .pod("near", |pod| pod.node("b").meshed())
        .pod("outsider", |pod| pod.node("a").unmeshed())
        .pod("moved", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .service("moved", |service| service.port(80, 8080))
}

/// In each load.
const CLIENTS: usize = 2;

fn address_changes(mesh: &Mesh) -> Result<()> {
    let (pod, caller) = (mesh.pod("moved"), mesh.pod("caller"));
    let server = pod.serve(8080, backends::echo())?;
    let to = Ipv4Addr::new(10, 244, 2, 200);
    pod.netns().run(|| weft_vm::link::batch(&format!("addr add {to}/32 dev eth0\n")))??;
    mesh.node("b").run(|| weft_vm::link::batch(&format!("route add {to}/32 via {}\n", pod.v4)))??;
    let (old, new) = (pod.at(8080), SocketAddr::from((to, 8080)));
    let rest = Duration::from_millis(5);
    let service = mesh.service("moved").at(80);
    let call = |client| Steady::start(mesh.pod(client).netns(), service, Style::Fresh, CLIENTS, rest);
    let before = ["caller", "near"].map(call);
    let enter = |target| Steady::start(mesh.pod("outsider").netns(), target, Style::Fresh, CLIENTS, rest);
    let intruders = [enter(old), enter(new)];
    before.iter().try_for_each(|load| load.keep_on(50))?;

    mesh.renumber(pod.v4.into(), to.into())?;
    wait::until("only the new address is announced", || {
        mesh.announced(&[new, old]).is_ok_and(|identities| identities == [Some(pod.identity()), None])
    })?;
    wait::until_ok("the pod is reached at its new address", || echo(&caller, new))?;
    // Clients may learn the address a moment before the server's proxy does: they are refused, not sent plaintext.
    let outcomes = before.map(Steady::stop);
    ensure!(outcomes.iter().all(|outcome| outcome.echoes > 50), "{outcomes:?}");
    wait::until("the server's connections have ended", || server.finished() == server.accepted())?;
    let lost = server.failures().len();
    let proxy = mesh.proxy("b").watch()?;
    let after = ["caller", "near"].map(call);
    after.iter().try_for_each(|load| load.keep_on(100))?;
    proxy.expect_some("tcp_open_total", &[("direction", "inbound"), ("pod", "moved"), ("tls", "true")])?;
    wait::until("the old address is refused", || echo(&caller, old).is_err())?;
    after.map(Steady::stop).iter().try_for_each(Outcome::no_failures)?;
    for intruder in intruders {
        let outcome = intruder.stop();
        ensure!(outcome.echoes == 0, "an enforcing pod accepted plaintext: {outcome:?}");
        ensure!(!outcome.failures.is_empty(), "the unmeshed client did not try");
    }
    ensure!(server.failures().len() == lost, "{:?}", server.failures());
    Ok(())
}

fn policy_changes(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("policy");
    let server = pod.serve(8080, backends::echo())?;
    let (caller, proxy) = (mesh.pod("caller"), mesh.proxy("b").watch()?);
    echo(&caller, pod.at(8080)).context("while it is allowed")?;
    let mut old = caller.connect(pod.at(8080))?;
    old.write_all(b"x")?;
    old.read_exact(&mut [0])?;
    mesh.change_pod("policy", |pod| pod.policy("deny"))?;
    wait::until("the refusal", || echo(&caller, pod.at(8080)).is_err())?;
    let ended = wait::promptly("the end of the denied connection", || old.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    proxy.expect("inbound_tcp_authz_terminate_total", &[("pod", "policy")], 1.0)?;
    mesh.change_pod("policy", |pod| pod.policy("all-authenticated"))?;
    wait::until("the permission", || echo(&caller, pod.at(8080)).is_ok())?;
    ensure!(server.accepted() > 2);
    Ok(())
}

fn service_is_headless(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("single");
    let server = pod.serve(8080, backends::name("single"))?;
    let proxy = mesh.proxy("a").watch()?;
    let script =
        "import socket; print(socket.create_connection(('single.test', 8080), 10).makefile().read())";
    let said = mesh.pod("caller").run("/usr/bin/python3", &["-c", script])?;
    ensure!(said.trim() == "single", "{said:?}");
    server.no_failures()?;
    proxy.expect(
        "tcp_open_total",
        &[("pod", "caller"), ("peer", "dst"), ("tls", "true"), ("dst_pod", "single")],
        1.0,
    )
}
