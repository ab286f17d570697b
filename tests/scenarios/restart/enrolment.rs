//! Proxies that are killed or replaced while pods join and leave.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    capture::{Capture, tls_records},
    load::{Steady, Style},
    mesh::{Description, Mesh, Pod, mesh},
    wait,
};

/// How often the proxy is killed.
const ROUNDS: usize = 20;
/// How often it is replaced.
const UPGRADES: usize = 8;
/// Pods that join and leave.
const CHANGING: usize = 6;

/// Pods that stay (`stable`, on the node whose proxy is killed; `server`, on the other) and pods that are unmeshed at
/// first.
pub(super) fn description() -> Description {
    let cluster = mesh("crash")
        .pod("stable", |pod| pod.node("a").meshed().policy("all-authenticated"))
        .pod("server", |pod| pod.node("b").meshed().policy("all-authenticated"));
    (0..CHANGING).fold(cluster, |cluster, n| {
        cluster.pod(&format!("changing-{n}"), |pod| pod.node("a").unmeshed().policy("all-authenticated"))
    })
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

pub(super) fn crash(mesh: &Mesh) -> Result<()> {
    let (stable, server) = (mesh.pod("stable"), mesh.pod("server"));
    let _servers = [server.serve(8080, backends::echo())?, stable.serve(8080, backends::echo())?];
    let before = resources(mesh)?;
    let wire = Capture::start(&mesh.node("a"))?;
    let load = Steady::start(stable.netns(), server.at(8080), Style::Fresh, 2, Duration::from_millis(2));
    load.keep_on(20)?;

    for round in 0..ROUNDS {
        for n in 0..CHANGING {
            let name = format!("changing-{n}");
            match (round + n) % 3 {
                0 => mesh.change_pod(&name, |pod| pod.meshed())?,
                1 => mesh.change_pod(&name, |pod| pod.unmeshed())?,
                // A pod that is created or deleted at this moment.
                _ if round % 2 == 0 => {
                    mesh.declare_pod(&format!("late-{n}"), |pod| pod.meshed().policy("all-authenticated"))?;
                }
                _ => mesh.remove(&format!("pod-late-{n}.yaml")).or_else(|_| anyhow::Ok(()))?,
            }
        }
        // After the control plane has announced it, joining takes a few milliseconds and leaving three seconds.
        thread::sleep(Duration::from_millis(rand::random_range(0..60)));
        mesh.proxy("a").kill()?;
        mesh.proxy("a").launch()?;
        if round % 4 == 3 {
            // The new process is killed before it has enrolled the existing pods.
            thread::sleep(Duration::from_millis(rand::random_range(0..150)));
            mesh.proxy("a").kill()?;
            mesh.proxy("a").launch()?;
        }
        load.keep_on(5).with_context(|| format!("the stable pod after round {round}"))?;
    }

    // Half of the changing pods stay in the mesh.
    for n in 0..CHANGING {
        mesh.change_pod(
            &format!("changing-{n}"),
            |pod| if n % 2 == 0 { pod.meshed() } else { pod.unmeshed() },
        )?;
        let late = format!("late-{n}");
        mesh.declare_pod(&late, |pod| pod.meshed())?;
        wait::until("the pod exists", || mesh.holds_pod(&late))?;
        mesh.remove_pod(&late)?;
    }
    mesh.until_enrolled()?;
    for n in 0..CHANGING {
        let pod = mesh.pod(&format!("changing-{n}"));
        let _server = pod.serve(8080, backends::echo())?;
        if n % 2 == 0 {
            wait::until_ok("the pod is reached", || talk(&server, &pod))?;
            talk(&pod, &server).with_context(|| format!("from {}", pod.name()))?;
            talk(&pod, &stable).with_context(|| format!("from {} to its neighbour", pod.name()))?;
        } else {
            ensure!(talk(&pod, &server).is_err(), "{} reached an enforcing server in plaintext", pod.name());
        }
    }
    for n in 0..CHANGING {
        mesh.change_pod(&format!("changing-{n}"), |pod| pod.unmeshed())?;
    }
    mesh.until_enrolled()?;
    wait::until_ok("nothing is left of pods that have left", || {
        let now = resources(mesh)?;
        ensure!(now == before, "map entries and links: {now:?}, before: {before:?}");
        for n in 0..CHANGING {
            let pod = mesh.pod(&format!("changing-{n}"));
            ensure!(listeners(&pod)? == 0, "something listens in {}", pod.name());
        }
        Ok(())
    })?;

    load.stop();
    let (captured, mut streams) = (wire.finish()?.of(server.v4.into(), 8080), 0);
    for ((from, to), stream) in captured.streams() {
        if [from.0, to.0].contains(&stable.v4.into()) {
            tls_records(&stream).with_context(|| format!("plaintext from {from:?} to {to:?}"))?;
            streams += 1;
        }
    }
    ensure!(streams > 0, "nothing was captured");
    println!("{ROUNDS} rounds; {streams} streams of the stable pod, all of them TLS");
    Ok(())
}

pub(super) fn upgrade(mesh: &Mesh) -> Result<()> {
    let (stable, server) = (mesh.pod("stable"), mesh.pod("server"));
    let changing: Vec<_> = (0..CHANGING).map(|n| mesh.pod(&format!("changing-{n}"))).collect();
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
