//! Is what opted in spliced by the kernel, byte for byte, counted, and ended as any other connection?

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use weft_tests::{
    backends,
    load::Pattern,
    mesh::{Description, Mesh, Watch, mesh},
    metrics::Labels,
    suite::Area,
    wait,
};

/// Every port that the scenarios use.
const OPTED_IN: &str = "8000-8999";

pub(crate) fn area() -> Area {
    Area::new("splice", opted_in)
        .scenario(
            "the_kernel_moves_the_bytes",
            "Requests and answers between two workloads of a node that opted in go from application to application in \
             the kernel, and the metrics of both count every byte.",
            the_kernel_moves_the_bytes,
        )
        .scenario(
            "a_service_may_opt_in",
            "A service's annotation is enough, whichever way its pods are dialled.",
            a_service_may_opt_in,
        )
        .scenario(
            "one_side_is_not_enough",
            "If only one of the two workloads opted in, the proxy carries the connection.",
            one_side_is_not_enough,
        )
}

fn opted_in() -> Description {
    let splice =
        |pod: weft_tests::mesh::PodSpec| pod.meshed().annotate("config.weft.dev/splice-ports", OPTED_IN);
    let ports = 8000..8040;
    let mut cluster = mesh("splice")
        .pod("client", |pod| splice(pod.node("a")))
        .pod("near", |pod| splice(pod.node("a")))
        .pod("far", |pod| splice(pod.node("b")))
        .pod("silent-client", |pod| pod.node("a").meshed())
        .pod("silent", |pod| pod.node("a").meshed());
    for name in ["near", "far", "silent"] {
        cluster = cluster
            .service(name, |service| ports.clone().fold(service, |service, port| service.port(port, port)));
    }
    cluster.service("announced", |service| {
        let service = service.selects("silent").annotate("config.weft.dev/splice-ports", "9000-9039");
        ports.clone().fold(service, |service, port| service.port(port + 1000, port))
    })
}

const SPLICED: &str = "weft_splice_bytes_total";
/// A message, and how often it goes there and back.
const MESSAGE: usize = 128;
const ROUNDS: usize = 300;

fn the_kernel_moves_the_bytes(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("near").serve(mesh.unused_port(), backends::echo())?;
    for target in [mesh.service("near").at(server.port()), mesh.pod("near").at6(server.port())] {
        let proxy = mesh.proxy("a").watch()?;
        let stream = mesh.pod("client").connect(target)?;
        echoes(&stream, MESSAGE, ROUNDS)?;
        let bytes = (MESSAGE * ROUNDS) as f64;
        // While it is open: what the kernel has moved is counted when somebody asks.
        counted(&proxy, "client", "near", bytes)?;
        mostly_spliced(&proxy, 2.0 * bytes)?;
        stream.shutdown(Shutdown::Write)?;
        ensure!((&stream).read(&mut [0; 1])? == 0, "a byte after the end");
        drop(stream);
        proxy.expect("weft_splice_open", &[], 0.0)?;
        counted(&proxy, "client", "near", bytes)?;
        proxy.expect("tcp_close_total", &[("direction", "outbound"), ("peer", "src"), ("errno", "")], 1.0)?;
    }
    server.flawless()
}

fn a_service_may_opt_in(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let server = mesh.pod("silent").serve(port, backends::echo())?;
    for target in [mesh.service("announced").at(port + 1000), mesh.pod("silent").at(port)] {
        let proxy = mesh.proxy("a").watch()?;
        let stream = mesh.pod("silent-client").connect(target)?;
        echoes(&stream, MESSAGE, ROUNDS).with_context(|| target.to_string())?;
        mostly_spliced(&proxy, (2 * MESSAGE * ROUNDS) as f64).with_context(|| target.to_string())?;
    }
    server.flawless()
}

fn one_side_is_not_enough(mesh: &Mesh) -> Result<()> {
    let near = mesh.pod("near").serve(mesh.unused_port(), backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    let stream = mesh.pod("silent-client").connect(mesh.service("near").at(near.port()))?;
    echoes(&stream, MESSAGE, ROUNDS)?;
    counted(&proxy, "silent-client", "near", (MESSAGE * ROUNDS) as f64)?;
    proxy.expect(SPLICED, &[], 0.0)?;
    proxy.expect("weft_splice_connections_total", &[], 0.0)?;
    drop(stream);
    near.flawless()
}

/// `rounds` messages there and back, each checked.
fn echoes(mut stream: &TcpStream, size: usize, rounds: usize) -> Result<()> {
    let (mut message, mut pattern, mut check) = (vec![0; size], Pattern::new(7), Pattern::new(7));
    for round in 0..rounds {
        pattern.fill(&mut message);
        stream.write_all(&message).with_context(|| format!("sending, round {round}"))?;
        stream.read_exact(&mut message).with_context(|| format!("receiving, round {round}"))?;
        check.check(&message).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Both legs of both workloads count so many bytes each way.
fn counted(proxy: &Watch<'_>, client: &str, server: &str, bytes: f64) -> Result<()> {
    for (direction, pod) in [("outbound", client), ("inbound", server)] {
        for peer in ["src", "dst"] {
            for name in ["tcp_read_bytes_total", "tcp_write_bytes_total"] {
                proxy.expect(name, &[("direction", direction), ("pod", pod), ("peer", peer)], bytes)?;
            }
        }
    }
    Ok(())
}

/// The first messages go by the proxy, before the kernel knows the way; nearly all others do not.
fn mostly_spliced(proxy: &Watch<'_>, bytes: f64) -> Result<()> {
    let moved = proxy.now()?.value(SPLICED, &[]);
    let labels: Labels<'_> = &[("hook", "sk_msg"), ("outcome", "spliced")];
    proxy.expect_some("weft_capture_total", labels)?;
    ensure!(
        moved >= 0.8 * bytes,
        "the kernel moved {moved} of {bytes} bytes\n{}",
        proxy.now()?.show("weft_")
    );
    Ok(())
}
