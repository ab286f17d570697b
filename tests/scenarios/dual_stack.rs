//! Services with IPv4 and IPv6 addresses in front of applications that listen on one family only.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Behaviour, Server},
    dial,
    mesh::{Description, Mesh, PodSpec, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("dual_stack", every_path)
        .scenario(
            "ipv4_only_application",
            "An application listens on IPv4 only. Clients that dial its service's IPv6 address reach it all the same, \
             on every path.",
            ipv4_only_application,
        )
        .scenario(
            "a_name_with_both_addresses",
            "A client that tries the addresses of a name one after the other reaches an application that listens on \
             IPv4 only, as it does without a mesh.",
            a_name_with_both_addresses,
        )
        .scenario(
            "the_same_pod_first",
            "Of two pods one listens, on IPv4 only. Connections to the service's IPv6 address reach it.",
            one_of_two_pods,
        )
        .scenario(
            "pod_address",
            "A pod of the same node that is dialled by its own IPv6 address is reached by IPv4.",
            pod_address,
        )
        .scenario(
            "nobody_listens",
            "If nobody listens on either family, the connection is refused with the reason.",
            nobody_listens,
        )
}

const PORTS: [u16; 6] = [8000, 8001, 8002, 8003, 8500, 9000];

fn every_path() -> Description {
    let splice = |pod: PodSpec| pod.meshed().annotate("config.weft.dev/splice-ports", "8500-8599");
    let mut cluster = mesh("dual-stack")
        .pod("client", |pod| splice(pod.node("a")))
        .pod("near", |pod| splice(pod.node("a")).annotate("config.linkerd.io/opaque-ports", "9000"))
        .pod("far", |pod| pod.node("b").meshed())
        .pod("plain-near", |pod| pod.node("a").unmeshed())
        .pod("plain-far", |pod| pod.node("b").unmeshed())
        .pod("one", |pod| pod.node("b").meshed().app("pair"))
        .pod("two", |pod| pod.node("b").meshed().app("pair"));
    for name in ["near", "far", "plain-near", "plain-far", "pair"] {
        cluster = cluster.service(name, |service| {
            PORTS.into_iter().fold(service, |service, port| service.port(port, port))
        });
    }
    cluster
}

/// From the client to a server: the name of the path, the server and the port.
const PATHS: [(&str, &str, u16); 6] = [
    ("to another node", "far", 8000),
    ("within the node", "near", 8000),
    ("spliced", "near", 8500),
    ("direct", "near", 9000),
    ("not meshed, another node", "plain-far", 8000),
    ("not meshed, same node", "plain-near", 8000),
];

/// Answers each byte with one that says by which family the client came.
fn family() -> Behaviour {
    Arc::new(|accepted| {
        let mut stream = &accepted.stream;
        let answer = if accepted.peer.is_ipv4() { b"4" } else { b"6" };
        while stream.read(&mut [0; 1])? != 0 {
            stream.write_all(answer)?;
        }
        Ok(())
    })
}

fn ask(mesh: &Mesh, target: SocketAddr) -> Result<char> {
    let stream = mesh.pod("client").connect(target)?;
    let mut answer = [0; 1];
    (&stream).write_all(b"?")?;
    dial::RetryingReader(&stream).read_exact(&mut answer)?;
    Ok(char::from(answer[0]))
}

/// Serves a port on 0.0.0.0 alone.
fn on_ipv4(mesh: &Mesh, pod: &str, port: u16, behaviour: Behaviour) -> Result<Server> {
    mesh.pod(pod).serve_on((Ipv4Addr::UNSPECIFIED, port).into(), behaviour)
}

fn ipv4_only_application(mesh: &Mesh) -> Result<()> {
    for (path, server, port) in PATHS {
        let backend = on_ipv4(mesh, server, port, family())?;
        // More than once: the second connection may go directly, or find the first one's failure remembered.
        for attempt in 0..3 {
            let answer = wait::promptly("the answer", || ask(mesh, mesh.service(server).at6(port)))?;
            let answer = answer.with_context(|| format!("{path}, attempt {attempt}"))?;
            ensure!(answer == '4', "{path}: the application saw family {answer}");
        }
        backend.no_failures()?;
    }
    Ok(())
}

fn a_name_with_both_addresses(mesh: &Mesh) -> Result<()> {
    for server in ["far", "near", "plain-far"] {
        let backend = on_ipv4(mesh, server, 8001, backends::name("found"))?;
        let script = format!(
            "import socket\n\
             for family, kind, _, _, address in sorted(socket.getaddrinfo('{server}.test', 8001, \
             type=socket.SOCK_STREAM), reverse=True):\n\
             \x20   try:\n\
             \x20       with socket.socket(family, kind) as s:\n\
             \x20           s.settimeout(10)\n\
             \x20           s.connect(address)\n\
             \x20           print(family.name, s.makefile().read())\n\
             \x20           break\n\
             \x20   except ConnectionRefusedError:\n\
             \x20       pass"
        );
        let found = mesh.pod("client").run("/usr/bin/python3", &["-c", &script])?;
        ensure!(found.trim().ends_with("found"), "{server}: {found:?}");
        backend.no_failures()?;
    }
    Ok(())
}

fn one_of_two_pods(mesh: &Mesh) -> Result<()> {
    let backend = on_ipv4(mesh, "two", 8002, family())?;
    for _ in 0..10 {
        ensure!(ask(mesh, mesh.service("pair").at6(8002))? == '4');
    }
    backend.no_failures()
}

fn pod_address(mesh: &Mesh) -> Result<()> {
    let backend = on_ipv4(mesh, "near", 8003, family())?;
    ensure!(ask(mesh, mesh.pod("near").at6(8003))? == '4');
    backend.no_failures()
}

fn nobody_listens(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    for server in ["far", "near", "plain-far"] {
        let answer = wait::promptly("the refusal", || ask(mesh, mesh.service(server).at6(8002)))?;
        ensure!(answer.is_err(), "{server} answered");
    }
    let labels = [("pod", "client"), ("error", "refused by endpoint")];
    proxy.expect("outbound_tcp_errors_total", &labels, 3.0)
}
