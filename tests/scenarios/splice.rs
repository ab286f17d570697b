//! Is what opted in spliced by the kernel, byte for byte, counted, and ended as any other connection?

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use weft_tests::{
    backends::{self, Accepted, Behaviour, behaviour::Gate},
    load::Pattern,
    mesh::{Description, Mesh, PodSpec, Watch, mesh},
    suite::Area,
    wait,
};

mod stress;

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
        .scenario(
            "ends_are_told",
            "A spliced connection's half-closes and resets arrive as on any other, behind all that was sent before.",
            ends_are_told,
        )
        .scenario(
            "a_reader_that_does_not_read",
            "The kernel queues no more for a reader that does not read than TCP would, and nothing is lost when it \
             reads on.",
            a_reader_that_does_not_read,
        )
        .scenario(
            "revoked_is_cut",
            "A policy that no longer admits the source resets a spliced connection at both ends.",
            revoked_is_cut,
        )
        .scenario(
            "short_way_to_another_node",
            "To another node, the kernel moves bytes between applications and proxies; all of them arrive, encrypted on \
             the way, and are counted once.",
            short_way_to_another_node,
        )
        .scenario(
            "every_way_of_writing_reading_and_closing",
            "2 160 streams through all combinations of writers, readers and closings arrive byte for byte.",
            stress::spliced,
        )
        .within(Duration::from_secs(240))
        .scenario(
            "every_way_to_another_node",
            "432 such streams do so over the short way to the proxy.",
            stress::short_way,
        )
        .within(Duration::from_secs(120))
        .alone(
            "kill_and_return",
            "A proxy that is killed resets its spliced connections; its successor splices again, and nothing is left \
             over.",
            opted_in,
            kill_and_return,
        )
        .alone(
            "takeover",
            "A takeover leaves spliced connections as they are; new ones are spliced by the successor.",
            opted_in,
            takeover,
        )
        .alone(
            "refused_with_a_reason",
            "Where the kernel's sockets cannot be read, nothing is spliced, the proxy says why, and all works.",
            || opted_in().proxy_arg("--btf=/nonexistent/vmlinux"),
            refused_with_a_reason,
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

/// The program's own counter of messages.
const MOVED: &[(&str, &str)] = &[("hook", "sk_msg"), ("outcome", "spliced")];
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
    proxy.expect_some("weft_capture_total", MOVED)?;
    ensure!(
        moved >= 0.8 * bytes,
        "the kernel moved {moved} of {bytes} bytes\n{}",
        proxy.now()?.show("weft_")
    );
    Ok(())
}

/// A spliced connection and the server's end of it; the server does `rest` when the warm-up is over.
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

/// More than one message of the kernel's, less than a queue takes.
const LETTER: usize = 600_000;

fn ends_are_told(mesh: &Mesh) -> Result<()> {
    // The client's half-close, then the server's answer.
    let (stream, server, _) = warm(mesh, answer_at_the_end())?;
    (&stream).write_all(&letter())?;
    stream.shutdown(Shutdown::Write)?;
    ensure!(to_the_end(&stream)? == letter(), "the answer is another");
    drop(stream);
    server.flawless()?;

    // The server resets after its last words.
    let (stream, _server, _) = warm(
        mesh,
        std::sync::Arc::new(|accepted| {
            (&accepted.stream).write_all(&letter())?;
            SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))
        }),
    )?;
    let mut got = vec![0; LETTER];
    (&stream).read_exact(&mut got).context("what the server said before its reset")?;
    ensure!(got == letter(), "the server's last words are others");
    let end = wait::promptly("the server's reset", || (&stream).read(&mut [0; 1]))?;
    ensure!(end.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{end:?}");

    // The client does.
    let (told, heard) = mpsc::channel();
    let (stream, _server, _) = warm(
        mesh,
        std::sync::Arc::new(move |accepted| {
            let mut got = vec![0; LETTER];
            (&accepted.stream).read_exact(&mut got)?;
            let end = (&accepted.stream).read(&mut [0; 1]);
            // The scenario is gone only if it has failed already.
            let _ = told.send((got == letter(), end.map_err(|e| e.kind())));
            Ok(())
        }),
    )?;
    (&stream).write_all(&letter())?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    let heard = heard.recv_timeout(wait::PROMPTLY).context("the client's reset")?;
    ensure!(heard == (true, Err(ErrorKind::ConnectionReset)), "{heard:?}");
    Ok(())
}

fn answer_at_the_end() -> Behaviour {
    std::sync::Arc::new(|accepted| {
        let got = to_the_end(&accepted.stream)?;
        (&accepted.stream).write_all(&got)?;
        accepted.stream.shutdown(Shutdown::Write)
    })
}

fn letter() -> Vec<u8> {
    let mut letter = vec![0; LETTER];
    Pattern::new(5).fill(&mut letter);
    letter
}

fn to_the_end(mut stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

/// The queue's bound with its overhead, the buffers of TCP and the proxy behind it; far less than is offered.
const BUFFERS: u64 = 32 << 20;

fn a_reader_that_does_not_read(mesh: &Mesh) -> Result<()> {
    let (gate, (told, heard)) = (Gate::default(), mpsc::channel());
    let read = move |accepted: &Accepted| {
        let (mut pattern, mut buffer) = (Pattern::new(11), vec![0; 64 << 10]);
        loop {
            match (&accepted.stream).read(&mut buffer)? {
                0 => break,
                n => pattern.check(&buffer[..n]).map_err(std::io::Error::other)?,
            }
        }
        let _ = told.send(pattern.position());
        Ok(())
    };
    let (mut stream, server, proxy) = warm(mesh, backends::hold(&gate, std::sync::Arc::new(read)))?;
    // A write that waits this long found every buffer full. It decides only when to stop filling.
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let (mut pattern, mut buffer, mut taken) = (Pattern::new(11), vec![0; 64 << 10], 0u64);
    'filling: while taken < 8 * BUFFERS {
        pattern.fill(&mut buffer);
        let mut left = &buffer[..];
        while !left.is_empty() {
            match stream.write(left) {
                Ok(n) => (taken, left) = (taken + n as u64, &left[n..]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break 'filling,
                Err(e) => return Err(e.into()),
            }
        }
    }
    ensure!(taken < BUFFERS, "{taken} bytes were taken although nobody reads");
    proxy.expect_some("weft_capture_total", &[("hook", "sk_msg"), ("outcome", "relayed_queue_full")])?;
    gate.open();
    stream.shutdown(Shutdown::Write)?;
    let read = heard.recv_timeout(wait::EVENTUALLY).context("the reader's count")?;
    ensure!(read == taken, "{read} of {taken} bytes were read");
    drop(stream);
    server.flawless()
}

fn revoked_is_cut(mesh: &Mesh) -> Result<()> {
    let (told, heard) = mpsc::channel();
    let (stream, _server, proxy) = warm(
        mesh,
        std::sync::Arc::new(move |accepted| {
            let end = (&accepted.stream).read(&mut [0; 1]);
            let _ = told.send(end.map_err(|e| e.kind()));
            Ok(())
        }),
    )?;
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    let heard = heard.recv_timeout(wait::EVENTUALLY).context("the server's end")?;
    ensure!(heard == Err(ErrorKind::ConnectionReset), "the server got {heard:?}");
    let end = (&stream).read(&mut [0; 1]).map_err(|e| e.kind());
    ensure!(end == Err(ErrorKind::ConnectionReset), "the client got {end:?}");
    ensure!((&stream).write(b"more").is_err(), "the client may write on");
    proxy.expect("weft_splice_open", &[], 0.0)?;
    proxy.expect_some("inbound_tcp_authz_terminate_total", &[("pod", "near")])?;
    mesh.change_pod("near", |pod| pod.policy("all-unauthenticated"))?;
    wait::until_ok("the pod lets in again", || warm(mesh, backends::sink()).map(drop))
}

fn short_way_to_another_node(mesh: &Mesh) -> Result<()> {
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
    server.flawless()
}

fn kill_and_return(mesh: &Mesh) -> Result<()> {
    let (stream, _server, _) = warm(mesh, backends::sink())?;
    mesh.proxy("a").kill()?;
    let end = (&stream).read(&mut [0; 1]).map_err(|e| e.kind());
    ensure!(end == Err(ErrorKind::ConnectionReset), "the client got {end:?}");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    let (stream, ..) = wait::until_ok("spliced again", || warm(mesh, backends::sink()))?;
    mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 2.0)?;
    drop(stream);
    wait::until_ok("all is forgotten", || mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 0.0))
}

fn takeover(mesh: &Mesh) -> Result<()> {
    let (stream, _server, _) = warm(mesh, backends::echo())?;
    let before = mesh.proxy("a").pid()?;
    mesh.proxy("a").take_over()?;
    wait::until("another process serves", || mesh.proxy("a").pid().is_ok_and(|pid| pid != before))?;
    mesh.until_enrolled()?;
    echoes(&stream, MESSAGE, ROUNDS).context("the connection of before")?;
    let (second, ..) = wait::until_ok("the successor splices", || warm(mesh, backends::echo()))?;
    echoes(&stream, MESSAGE, ROUNDS).context("both at once")?;
    echoes(&second, MESSAGE, ROUNDS)?;
    drop((stream, second));
    wait::until_ok("all is forgotten", || mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 0.0))
}

fn refused_with_a_reason(mesh: &Mesh) -> Result<()> {
    for server in ["near", "far"] {
        let pod = mesh.pod(server);
        let echo = pod.serve(mesh.unused_port(), backends::echo())?;
        let stream = mesh.pod("client").connect(mesh.service(server).at(echo.port()))?;
        echoes(&stream, MESSAGE, ROUNDS)?;
        drop(stream);
        echo.flawless()?;
    }
    let proxy = mesh.proxy("a");
    let metrics = proxy.metrics()?;
    metrics.expect("weft_splice_available", &[], 0.0)?;
    metrics.expect("weft_splice_connections_total", &[], 0.0)?;
    metrics.expect("weft_capture_total", &[("hook", "sockops"), ("outcome", "splice_joined")], 0.0)?;
    let reason = proxy.config()?["splice"]["reason"].to_string();
    ensure!(reason.contains("/nonexistent/vmlinux"), "/config: {reason}");
    proxy.log().expect_line(&["not spliced", "/nonexistent/vmlinux"])?;
    Ok(())
}
