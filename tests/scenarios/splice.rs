//! Spliced connections: the kernel moves their bytes, which are counted, and they end as other connections do.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Accepted, Behaviour},
    load::Pattern,
    mesh::{Description, Mesh, PodSpec, Watch, mesh},
    suite::Area,
    wait,
};

mod ends;
mod kernel;
mod reading;
mod stress;

/// Every port that the scenarios use.
const OPTED_IN: &str = "8000-8999";

pub(crate) fn area() -> Area {
    kernel::scenarios(Area::new("splice", opted_in))
        .scenario(
            "the_kernel_moves_the_bytes",
            "The kernel moves requests and answers between two workloads of a node that opted in from application to \
             application, and the metrics of both count every byte.",
            the_kernel_moves_the_bytes,
        )
        .scenario(
            "a_service_may_opt_in",
            "The annotation of a service is enough, whether its pods are dialled by service or by pod address.",
            a_service_may_opt_in,
        )
        .scenario(
            "one_side_is_not_enough",
            "If only one of the two workloads opted in, the connection goes through the proxy.",
            one_side_is_not_enough,
        )
        .scenario(
            "ends_are_passed_on",
            "Half-closes and resets of a spliced connection arrive as on any other, after all that was sent before.",
            ends::ends_are_passed_on,
        )
        .scenario(
            "a_reader_that_does_not_read",
            "For a reader that does not read, the kernel queues no more than TCP would, and nothing is lost when it \
             reads on.",
            reading::a_reader_that_does_not_read,
        )
        .scenario(
            "a_read_that_waits_for_all",
            "A read that has received a part through TCP and waits for the rest receives it: nothing goes to the other \
             queue.",
            reading::a_read_that_waits_for_all,
        )
        .scenario(
            "revoked_is_reset",
            "A policy that no longer allows the source resets a spliced connection at both ends.",
            ends::revoked_is_reset,
        )
        .scenario(
            "cross_node",
            "On a connection to another node, the kernel moves bytes between each application and its proxy; all of \
             them arrive, are encrypted between the nodes, and are counted once.",
            cross_node,
        )
        .scenario(
            "every_way_of_writing_reading_and_closing",
            "2 160 streams through all combinations of writers, readers and closings arrive byte for byte.",
            stress::spliced,
        )
        .within(Duration::from_secs(240))
        .scenario(
            "every_way_cross_node",
            "432 such streams to another node, spliced between application and proxy, arrive byte for byte.",
            stress::cross_node,
        )
        .within(Duration::from_secs(120))
        .alone(
            "kill_and_return",
            "A proxy that is killed resets its spliced connections; its successor splices new ones, and nothing is \
             left behind.",
            opted_in,
            ends::kill_and_return,
        )
        .alone(
            "takeover",
            "A takeover does not affect spliced connections; the successor splices new ones.",
            opted_in,
            takeover,
        )
        .alone(
            "successor_dies",
            "When a successor dies while its predecessor still drains, the next proxy leaves that one's spliced \
             connections as they are.",
            opted_in,
            ends::successor_dies,
        )
}

fn opted_in() -> Description {
    let splice = |pod: PodSpec| pod.meshed().annotate("config.weft.dev/splice-ports", OPTED_IN);
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

/// Counts the messages that the program has redirected.
const MOVED: &[(&str, &str)] = &[("hook", "sk_msg"), ("outcome", "spliced")];
const SPLICED: &str = "weft_splice_bytes_total";
/// The size of a message, and how often it is echoed.
const MESSAGE: usize = 128;
const ROUNDS: usize = 300;

fn the_kernel_moves_the_bytes(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("near").serve(mesh.unused_port(), backends::echo())?;
    for target in [mesh.service("near").at(server.port()), mesh.pod("near").at6(server.port())] {
        let proxy = mesh.proxy("a").watch()?;
        let stream = mesh.pod("client").connect(target)?;
        echoes(&stream, MESSAGE, ROUNDS)?;
        let bytes = (MESSAGE * ROUNDS) as f64;
        // Bytes that the kernel has moved are counted at each scrape, also while the connection is open.
        counted(&proxy, "client", "near", bytes)?;
        mostly_spliced(&proxy, 2.0 * bytes)?;
        stream.shutdown(Shutdown::Write)?;
        ensure!((&stream).read(&mut [0; 1])? == 0, "a byte after the end");
        drop(stream);
        proxy.expect("weft_splice_open", &[], 0.0)?;
        counted(&proxy, "client", "near", bytes)?;
        proxy.expect("tcp_close_total", &[("direction", "outbound"), ("peer", "src"), ("errno", "")], 1.0)?;
    }
    server.no_failures()
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
    server.no_failures()
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
    near.no_failures()
}

/// Sends `rounds` messages and checks each echo.
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

/// Checks that both connections of both workloads count this many bytes each way.
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

/// The first messages go through the proxy, before the redirect is installed; nearly all others do not.
fn mostly_spliced(proxy: &Watch<'_>, bytes: f64) -> Result<()> {
    let moved = proxy.now()?.value(SPLICED, &[]);
    proxy.expect_some("weft_capture_total", MOVED)?;
    ensure!(
        moved >= 0.8 * bytes,
        "the kernel moved {moved} of {bytes} bytes\n{}",
        proxy.now()?.show("weft_")
    );
    Ok(())
}

/// A spliced connection after a warm-up; then the server continues with `rest`.
fn warm<'a>(mesh: &'a Mesh, rest: Behaviour) -> Result<(TcpStream, backends::Server, Watch<'a>)> {
    let echo = move |accepted: &Accepted| {
        let mut stream = &accepted.stream;
        let mut message = [0; MESSAGE];
        for _ in 0..ROUNDS {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
        rest(accepted)
    };
    let server = mesh.pod("near").serve(mesh.unused_port(), std::sync::Arc::new(echo))?;
    let proxy = mesh.proxy("a").watch()?;
    let stream = mesh.pod("client").connect(mesh.service("near").at(server.port()))?;
    echoes(&stream, MESSAGE, ROUNDS)?;
    mostly_spliced(&proxy, (2 * MESSAGE * ROUNDS) as f64)?;
    Ok((stream, server, proxy))
}

fn cross_node(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("far").serve(mesh.unused_port(), backends::echo())?;
    let (near, far) = (mesh.proxy("a").watch()?, mesh.proxy("b").watch()?);
    let stream = mesh.pod("client").connect(mesh.service("far").at(server.port()))?;
    echoes(&stream, MESSAGE, ROUNDS)?;
    let bytes = (MESSAGE * ROUNDS) as f64;
    for (proxy, direction, pod) in [(&near, "outbound", "client"), (&far, "inbound", "far")] {
        proxy.expect("weft_splice_hops_total", &[], 1.0)?;
        let moved = proxy.now()?.value("weft_capture_total", MOVED);
        ensure!(moved >= 1.5 * ROUNDS as f64, "{proxy:?} {moved} of {} messages", 2 * ROUNDS, proxy = pod);
        for name in ["tcp_read_bytes_total", "tcp_write_bytes_total"] {
            let labels = [("direction", direction), ("pod", pod), ("peer", "src")];
            proxy.expect(name, &labels, bytes)?;
        }
    }
    near.expect_some("tcp_open_total", &[("direction", "outbound"), ("peer", "dst"), ("tls", "true")])?;
    drop(stream);
    server.no_failures()
}

fn takeover(mesh: &Mesh) -> Result<()> {
    let (stream, _server, _) = warm(mesh, backends::echo())?;
    let before = mesh.proxy("a").pid()?;
    mesh.proxy("a").take_over()?;
    wait::until("another process serves", || mesh.proxy("a").pid().is_ok_and(|pid| pid != before))?;
    mesh.until_enrolled()?;
    echoes(&stream, MESSAGE, ROUNDS).context("the existing connection")?;
    let (second, ..) = wait::until_ok("the successor splices", || warm(mesh, backends::echo()))?;
    echoes(&stream, MESSAGE, ROUNDS).context("both at once")?;
    echoes(&second, MESSAGE, ROUNDS)?;
    drop((stream, second));
    wait::until_ok("no redirect is left", || mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 0.0))
}
