//! Pods that are added and deleted, and pods that cannot be meshed.

use anyhow::{Result, ensure};
use std::io::{Read, Write};
use weft_tests::{
    backends,
    mesh::{Description, Mesh, Pod, mesh},
    suite::Area,
    texts::log,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("churn", small)
        .scenario(
            "pods_leave_nothing_behind",
            "Meshed pods that are added, talk and are deleted leave no descriptor, thread, map entry or namespace \
             behind.",
            pods_leave_nothing_behind,
        )
        .scenario(
            "replaced_by_a_namesake",
            "A new pod with the name of a deleted one is served at its new address.",
            replaced_by_a_namesake,
        )
        .scenario(
            "host_network_is_refused",
            "A meshed pod with hostNetwork is refused with a clear reason, and its connections bypass the proxy.",
            host_network_is_refused,
        )
        .scenario(
            "one_namespace_one_pod",
            "A second pod with the network namespace of another is refused with a clear reason, and the first one is \
             still served; when the first one leaves the mesh, the second one is served, and later the first one \
             again.",
            one_namespace_one_pod,
        )
        .scenario(
            "too_many_ranges",
            "A pod with more skipped port ranges than the kernel's table holds is served, and the log names them.",
            too_many_ranges,
        )
}

fn small() -> Description {
    mesh("churn").pod("client", |pod| pod.node("a").meshed()).pod("server", |pod| pod.node("b").meshed())
}

fn talk(from: &Pod, to: &Pod, port: u16) -> Result<()> {
    let mut stream = from.connect(to.at(port))?;
    stream.write_all(b"hello")?;
    Ok(stream.read_exact(&mut [0; 5])?)
}

/// What a node's proxy uses.
#[derive(Debug, PartialEq)]
struct Resources {
    descriptors: usize,
    threads: usize,
    links: usize,
    map_entries: f64,
    workloads: Vec<String>,
}

fn resources(mesh: &Mesh, node: &str) -> Result<Resources> {
    let proxy = mesh.proxy(node);
    let devices = mesh.node(node).run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
    Ok(Resources {
        descriptors: proxy.descriptors()?,
        threads: std::fs::read_dir(format!("/proc/{}/task", proxy.pid()?))?.count(),
        links: devices.lines().count(),
        map_entries: proxy.metrics()?.value("weft_capture_map_entries", &[]),
        workloads: proxy.enrolled()?,
    })
}

fn pods_leave_nothing_behind(mesh: &Mesh) -> Result<()> {
    let (client, server) = (mesh.pod("client"), mesh.pod("server"));
    let steady = server.serve(8080, backends::echo())?;
    let round = |number: usize| -> Result<()> {
        let names = [("a", format!("guest-a-{number}")), ("b", format!("guest-b-{number}"))];
        for (node, name) in &names {
            let guest = mesh.add_pod(name, |pod| pod.node(node).meshed())?;
            let port = mesh.unused_port();
            let serving = guest.serve(port, backends::echo())?;
            wait::until_ok("the guest is reached", || talk(&client, &guest, port))?;
            wait::until_ok("the guest reaches others", || talk(&guest, &server, 8080))?;
            serving.no_failures()?;
        }
        names.iter().try_for_each(|(_, name)| mesh.remove_pod(name))?;
        mesh.until_enrolled()
    };
    // After the first rounds, everything exists that is created only once, such as worker threads.
    (0..2).try_for_each(round)?;
    let before = settled(mesh)?;
    (2..10).try_for_each(round)?;
    wait::until_ok("nothing of the deleted pods is left", || {
        for (node, before) in mesh_nodes(mesh).zip(&before) {
            let now = resources(mesh, &node)?;
            let none_more = now.descriptors <= before.descriptors
                && now.threads <= before.threads + THREADS
                && now.links <= before.links
                && now.map_entries <= before.map_entries
                && now.workloads == before.workloads;
            ensure!(none_more, "node {node}: before {before:?}, now {now:?}");
        }
        Ok(())
    })?;
    steady.no_failures()
}

/// Additional threads for blocking work, which are started when needed: fewer than one for each pod.
const THREADS: usize = 4;

/// The resources once they have stopped changing.
fn settled(mesh: &Mesh) -> Result<Vec<Resources>> {
    let count = || mesh_nodes(mesh).map(|node| resources(mesh, &node)).collect::<Result<Vec<_>>>();
    let mut last = count()?;
    let mut quiet_since = std::time::Instant::now();
    wait::until_ok("the resources in use stop changing", || {
        let now = count()?;
        if now != last {
            last = now;
            quiet_since = std::time::Instant::now();
        }
        ensure!(quiet_since.elapsed().as_secs() >= 2, "still changing");
        Ok(())
    })?;
    Ok(last)
}

fn mesh_nodes(mesh: &Mesh) -> impl Iterator<Item = String> {
    mesh.proxies().iter().map(|proxy| proxy.node().to_owned())
}

fn replaced_by_a_namesake(mesh: &Mesh) -> Result<()> {
    let client = mesh.pod("client");
    for _ in 0..3 {
        let pod = mesh.add_pod("namesake", |pod| pod.node("b").meshed())?;
        let server = pod.serve(8080, backends::echo())?;
        let proxy = mesh.proxy("b").watch()?;
        wait::until_ok("the namesake is reached by mTLS", || {
            talk(&client, &pod, 8080)?;
            proxy.now()?.expect_some(
                "tcp_open_total",
                &[("direction", "inbound"), ("pod", "namesake"), ("tls", "true")],
            )
        })?;
        server.no_failures()?;
        mesh.remove_pod("namesake")?;
    }
    Ok(())
}

fn host_network_is_refused(mesh: &Mesh) -> Result<()> {
    let pod = mesh.add_pod("on-host", |pod| pod.node("b").meshed().host_network())?;
    mesh.proxy("b").log().expect_line(&["on-host", "hostNetwork"])?;
    let workloads = mesh.proxy("b").enrolled()?;
    ensure!(!workloads.contains(&"on-host".to_owned()), "it is served: {workloads:?}");
    let plain = pod.serve(mesh.unused_port(), backends::echo())?;
    talk(&mesh.pod("client"), &pod, plain.port())?;
    plain.no_failures()?;
    mesh.remove_pod("on-host")
}

fn one_namespace_one_pod(mesh: &Mesh) -> Result<()> {
    let (client, server) = (mesh.pod("client"), mesh.pod("server"));
    let port = mesh.unused_port();
    let _server = server.serve(port, backends::echo())?;
    let netns = client.netns().path().display().to_string();
    mesh.declare_pod("twin", |pod| pod.node("a").meshed().annotate("config.weft.dev/netns", &netns))?;
    wait::until_ok("the twin is refused", || {
        let (state, reason) = mesh.proxy("a").state_of("twin")?;
        ensure!(state == "REFUSED" && reason.contains("test/client"), "{state}: {reason}");
        Ok(())
    })?;
    talk(&client, &server, port)?;
    mesh.change_pod("client", |pod| pod.unmeshed())?;
    wait::until_ok("the twin is served", || {
        let (state, reason) = mesh.proxy("a").state_of("twin")?;
        ensure!(state == "SERVED", "{state}: {reason}");
        Ok(())
    })?;
    mesh.remove_pod("twin")?;
    mesh.change_pod("client", |pod| pod.meshed())?;
    mesh.until_enrolled()?;
    talk(&client, &server, port)
}

fn too_many_ranges(mesh: &Mesh) -> Result<()> {
    let ports: Vec<String> = (0..17).map(|n| (20_001 + 2 * n).to_string()).collect();
    let skip = "config.linkerd.io/skip-outbound-ports";
    mesh.add_pod("ranges", |pod| pod.node("a").meshed().annotate(skip, &ports.join(",")))?;
    mesh.proxy("a").log().expect_line(&[skip, log::TOO_MANY_RANGES, "ranges=17", "most=16"])?;
    mesh.remove_pod("ranges")?;
    mesh.until_enrolled()
}
