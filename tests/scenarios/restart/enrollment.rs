//! Proxies that are killed or replaced while pods join and leave.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    capture::{Capture, Captured, tls_records},
    load::{Steady, Style},
    mesh::{Description, Mesh, Pod, mesh},
    suite::Area,
    wait,
};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "crash_in_enrollment",
        "A proxy that is killed repeatedly while pods join and leave leaves nothing behind; in the end every pod \
         is served or not, as it should be, and a pod that was meshed all the time never sends plaintext.",
        description,
        crash,
    )
    .within(Duration::from_secs(150))
    .alone(
        "upgrades_while_pods_join",
        "Pods that join and leave during a takeover are served, or not, as they should be, and other pods notice \
         nothing.",
        description,
        upgrade,
    )
    .within(Duration::from_secs(150))
}

/// How often the proxy is killed.
const ROUNDS: usize = 20;
/// How often it is replaced.
const UPGRADES: usize = 8;
/// Pods that join and leave.
const CHANGING: usize = 6;

/// Pods that stay (`stable`, on the node whose proxy is killed; `server`, on the other) and pods that are unmeshed at
/// first.
fn description() -> Description {
    let cluster = mesh("crash")
        .pod("stable", |pod| pod.node("a").meshed().policy("all-authenticated"))
        .pod("server", |pod| pod.node("b").meshed().policy("all-authenticated"));
    (0..CHANGING).fold(cluster, |cluster, n| {
        cluster.pod(&changing(n), |pod| pod.node("a").unmeshed().policy("all-authenticated"))
    })
}

fn changing(n: usize) -> String {
    format!("changing-{n}")
}

/// Map entries of the proxy and network interfaces of the node.
fn resources(mesh: &Mesh) -> Result<(f64, usize)> {
    let entries = mesh.proxy("a").metrics()?.value("weft_capture_map_entries", &[]);
    let devices = mesh.node("a").run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
    Ok((entries, devices.lines().count()))
}

/// The number of listening sockets inside a pod.
fn listeners(pod: &Pod) -> Result<usize> {
    let tables = pod.netns().run(|| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        Ok::<_, std::io::Error>(read("tcp")? + &read("tcp6")?)
    })??;
    Ok(tables.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A")).count())
}

fn talk(from: &Pod, to: &Pod) -> Result<()> {
    let mut stream = from.connect(to.at(8080))?;
    stream.write_all(b"hello")?;
    Ok(stream.read_exact(&mut [0; 5])?)
}

fn crash(mesh: &Mesh) -> Result<()> {
    let (stable, server) = (mesh.pod("stable"), mesh.pod("server"));
    let _servers = [server.serve(8080, backends::echo())?, stable.serve(8080, backends::echo())?];
    let before = resources(mesh)?;
    let wire = Capture::start(&mesh.node("a"))?;
    let load = Steady::start(stable.netns(), server.at(8080), Style::Fresh, 2, Duration::from_millis(2));
    load.keep_on(20)?;

    for round in 0..ROUNDS {
        change_pods(mesh, round)?;
        // After the control plane has announced it, joining takes a few milliseconds and leaving three seconds.
        kill_after(mesh, 60)?;
        if round % 4 == 3 {
            // The new process is killed before it has enrolled the existing pods.
            kill_after(mesh, 150)?;
        }
        load.keep_on(5).with_context(|| format!("the stable pod after round {round}"))?;
    }

    half_stay(mesh)?;
    let pods: Vec<_> = (0..CHANGING).map(|n| mesh.pod(&changing(n))).collect();
    for (n, pod) in pods.iter().enumerate() {
        let _server = pod.serve(8080, backends::echo())?;
        if n % 2 == 0 {
            wait::until_ok("the pod is reached", || talk(&server, pod))?;
            talk(pod, &server).with_context(|| format!("from {}", pod.name()))?;
            talk(pod, &stable).with_context(|| format!("from {} to its neighbour", pod.name()))?;
        } else {
            ensure!(talk(pod, &server).is_err(), "{} reached an enforcing server in plaintext", pod.name());
        }
    }

    for pod in &pods {
        mesh.change_pod(pod.name(), |pod| pod.unmeshed())?;
    }
    mesh.until_enrolled()?;
    wait::until_ok("nothing is left of pods that have left", || {
        let now = resources(mesh)?;
        ensure!(now == before, "map entries and links: {now:?}, before: {before:?}");
        for pod in &pods {
            ensure!(listeners(pod)? == 0, "something listens in {}", pod.name());
        }
        Ok(())
    })?;

    load.stop();
    let streams = only_tls_of(&stable, &wire.finish()?.of(server.v4.into(), 8080))?;
    println!("{ROUNDS} rounds; {streams} streams of the stable pod, all of them TLS");
    Ok(())
}

/// In each round, some pods join, some leave, and some are created or deleted at that moment.
fn change_pods(mesh: &Mesh, round: usize) -> Result<()> {
    for n in 0..CHANGING {
        match (round + n) % 3 {
            0 => mesh.change_pod(&changing(n), |pod| pod.meshed())?,
            1 => mesh.change_pod(&changing(n), |pod| pod.unmeshed())?,
            _ if round.is_multiple_of(2) => {
                mesh.declare_pod(&format!("late-{n}"), |pod| pod.meshed().policy("all-authenticated"))?;
            }
            _ => mesh.remove(&format!("pod-late-{n}.yaml")).or_else(|_| anyhow::Ok(()))?,
        }
    }
    Ok(())
}

/// Kills the proxy at some time within `limit` milliseconds, and starts another one.
fn kill_after(mesh: &Mesh, limit: u64) -> Result<()> {
    thread::sleep(Duration::from_millis(rand::random_range(0..limit)));
    mesh.proxy("a").kill()?;
    mesh.proxy("a").launch()
}

/// Every other changing pod stays in the mesh; all that were created meanwhile are deleted.
fn half_stay(mesh: &Mesh) -> Result<()> {
    for n in 0..CHANGING {
        mesh.change_pod(&changing(n), |pod| if n % 2 == 0 { pod.meshed() } else { pod.unmeshed() })?;
        let late = format!("late-{n}");
        mesh.declare_pod(&late, |pod| pod.meshed())?;
        wait::until("the pod exists", || mesh.holds_pod(&late))?;
        mesh.remove_pod(&late)?;
    }
    mesh.until_enrolled()
}

/// Fails if the pod has sent or received anything but TLS. Returns the number of its streams.
fn only_tls_of(pod: &Pod, captured: &Captured) -> Result<usize> {
    let mut streams = 0;
    for ((from, to), stream) in captured.streams() {
        if [from.0, to.0].contains(&pod.v4.into()) {
            tls_records(&stream).with_context(|| format!("plaintext from {from:?} to {to:?}"))?;
            streams += 1;
        }
    }
    ensure!(streams > 0, "nothing was captured");
    Ok(streams)
}

fn upgrade(mesh: &Mesh) -> Result<()> {
    let (stable, server) = (mesh.pod("stable"), mesh.pod("server"));
    let changing: Vec<_> = (0..CHANGING).map(|n| mesh.pod(&changing(n))).collect();
    let _servers = [&stable, &server]
        .into_iter()
        .chain(&changing)
        .map(|pod| pod.serve(8080, backends::echo()))
        .collect::<Result<Vec<_>>>()?;
    let rest = Duration::from_millis(5);
    let loads = [(&stable, &server), (&server, &stable)]
        .map(|(from, to)| Steady::start(from.netns(), to.at(8080), Style::Fresh, 2, rest));
    loads.iter().try_for_each(|load| load.keep_on(20))?;
    for round in 0..UPGRADES {
        let joins = round % 2 == 0;
        thread::scope(|scope| {
            let taking = scope.spawn(|| mesh.proxy("a").take_over());
            for pod in &changing {
                // At some time of the takeover, which takes about 200 ms.
                thread::sleep(Duration::from_millis(rand::random_range(0..80)));
                mesh.change_pod(pod.name(), |pod| if joins { pod.meshed() } else { pod.unmeshed() })?;
            }
            taking.join().map_err(|_| anyhow::anyhow!("the takeover panicked"))?
        })?;
        mesh.until_enrolled().with_context(|| format!("after round {round}"))?;
        for pod in &changing {
            let name = || format!("{} in round {round}", pod.name());
            if joins {
                wait::until_ok("the pod is reached", || talk(&server, pod)).with_context(name)?;
                wait::until_ok("the pod reaches others", || talk(pod, &server)).with_context(name)?;
            } else {
                ensure!(talk(pod, &server).is_err(), "{} was accepted in plaintext", name());
                // Its policies stay in effect for a while.
                wait::until_ok("the pod is reached without the mesh", || talk(&server, pod))
                    .with_context(name)?;
            }
        }
        loads.iter().try_for_each(|load| load.keep_on(5))?;
    }
    wait::until("the old processes end", || mesh.proxy("a").draining().is_ok_and(|count| count == 0))?;
    loads.into_iter().try_for_each(|load| load.stop().no_failures())
}
