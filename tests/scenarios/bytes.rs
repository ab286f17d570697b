//! Bytes and ends of connections: they arrive completely, in order, and as they were sent.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use socket2::SockRef;
use weft_tests::{
    backends::{self, Accepted, Behaviour, behaviour::Gate},
    load::{Pattern, Plan},
    mesh::Mesh,
    suite::Area,
    wait,
};

use crate::fixture::{each_place, serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("bytes", two_nodes)
        .scenario(
            "any_sizes_in_both_directions",
            "Streams of random length in pieces of random size, both directions at once, arrive byte for byte.",
            any_sizes_in_both_directions,
        )
        .scenario(
            "client_closes_its_half_first",
            "After the client's end of stream, which the server sees, the server's bytes still arrive.",
            client_closes_its_half_first,
        )
        .scenario(
            "server_closes_its_half_first",
            "After the server's end of stream, which the client sees, the client's bytes still arrive.",
            server_closes_its_half_first,
        )
        .scenario("client_resets", "A client's reset reaches the server as a reset, promptly.", client_resets)
        .scenario("server_resets", "A server's reset reaches the client as a reset, promptly.", server_resets)
        .scenario(
            "server_speaks_first",
            "The bytes of a server that sends first arrive promptly.",
            server_speaks_first,
        )
        .scenario(
            "every_byte_is_counted",
            "The metrics of both nodes count exactly the bytes that the applications exchanged, and no connection as \
             still open.",
            every_byte_is_counted,
        )
        .scenario(
            "slow_reader_slows_the_writer",
            "A reader that stops reading stops the writer when bounded buffers are full, and loses nothing when it \
             reads on.",
            slow_reader_slows_the_writer,
        )
        .scenario(
            "reader_pauses",
            "A reader that pauses for longer than keepalive and retransmission timeouts gets every byte when it reads \
             on.",
            reader_pauses,
        )
        .scenario(
            "a_gibibyte",
            "1 GiB in one direction between nodes, and 512 MiB within a node, arrive byte for byte.",
            a_gibibyte,
        )
        .within(Duration::from_secs(180))
        .scenario(
            "two_thousand_at_once",
            "2 000 connections that are open at the same time carry their bytes and end without an error.",
            two_thousand_at_once,
        )
        .within(Duration::from_secs(120))
}

fn any_sizes_in_both_directions(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::exchange())?;
        let target = mesh.service(place).at(server.port());
        let client = mesh.pod("client");
        // Four at a time, so that connections also compete.
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        for round in 0..15 {
                            let plan = Plan::random(if round % 5 == 0 { 2_000_000 } else { 20_000 });
                            plan.run(&client.connect(target)?).with_context(|| format!("{plan:?}"))?;
                        }
                        Ok(())
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })?;
        server.no_failures()
    })
}

fn client_closes_its_half_first(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        // The server answers only after the client's end of stream: if that is not passed on, there is no answer.
        let (_, server) = serve(mesh, place, after_end_answer())?;
        let mut stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        stream.write_all(b"question")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer == "got 8 bytes", "answer: {answer:?}");
        server.no_failures()
    })
}

fn after_end_answer() -> Behaviour {
    std::sync::Arc::new(|accepted: &Accepted| {
        let mut stream = &accepted.stream;
        let mut request = Vec::new();
        stream.read_to_end(&mut request)?;
        write!(stream, "got {} bytes", request.len())
    })
}

fn server_closes_its_half_first(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (report, received) = mpsc::channel();
        let (_, server) = serve(
            mesh,
            place,
            std::sync::Arc::new(move |accepted: &Accepted| {
                let mut stream = &accepted.stream;
                stream.write_all(b"that is all")?;
                stream.shutdown(Shutdown::Write)?;
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest)?;
                // Fails only if the scenario has already failed.
                let _ = report.send(rest);
                Ok(())
            }),
        )?;
        let mut stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        let mut all = String::new();
        stream.read_to_string(&mut all)?;
        ensure!(all == "that is all", "the server sent {all:?}");
        // The client has seen the end of stream and goes on sending.
        let mut sent = vec![0; 200_000];
        Pattern::new(1).fill(&mut sent);
        stream.write_all(&sent)?;
        drop(stream);
        let rest = received.recv_timeout(wait::EVENTUALLY).context("the server's bytes")?;
        ensure!(rest == sent, "the server got {} of {} bytes", rest.len(), sent.len());
        server.no_failures()
    })
}

fn client_resets(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (report, ended) = mpsc::channel();
        let (_, server) = serve(
            mesh,
            place,
            std::sync::Arc::new(move |accepted: &Accepted| {
                let mut stream = &accepted.stream;
                stream.write_all(b"ready")?;
                // Fails only if the scenario has already failed.
                let _ = report.send(stream.read(&mut [0; 16]).map_err(|e| e.kind()));
                Ok(())
            }),
        )?;
        let mut stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        stream.read_exact(&mut [0; 5])?;
        reset(stream)?;
        let end = ended.recv_timeout(wait::PROMPTLY).context("the server did not see the reset")?;
        ensure!(end == Err(ErrorKind::ConnectionReset), "the server's read gave {end:?}");
        server.no_failures()
    })
}

fn server_resets(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(
            mesh,
            place,
            std::sync::Arc::new(|accepted: &Accepted| {
                (&accepted.stream).read_exact(&mut [0; 4])?;
                SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))
            }),
        )?;
        let mut stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        stream.write_all(b"die!")?;
        let end = wait::promptly("the reset", || stream.read(&mut [0; 16]))?;
        ensure!(
            end.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "the client's read gave {end:?}"
        );
        server.no_failures()
    })
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: TcpStream) -> Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

fn server_speaks_first(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::banner("220 ready\r\n"))?;
        for _ in 0..3 {
            let mut greeting = [0; 11];
            let mut stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
            wait::promptly("the greeting", || stream.read_exact(&mut greeting))??;
            ensure!(&greeting == b"220 ready\r\n");
            stream.write_all(b"EHLO")?;
            stream.read_exact(&mut greeting[..4])?;
            ensure!(&greeting[..4] == b"EHLO");
        }
        server.no_failures()
    })
}

fn every_byte_is_counted(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let node = if place == "near" { "a" } else { "b" };
        let (_, server) = serve(mesh, place, backends::exchange())?;
        let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(node).watch()?);
        let plan = Plan::new(123_456, 654_321);
        plan.run(&mesh.pod("client").connect(mesh.service(place).at(server.port()))?)?;
        server.no_failures()?;
        let (up, down) = ((plan.up.1 + Plan::HEADER as u64) as f64, plan.down.1 as f64);
        // What the source's proxy reads from its application, the destination's proxy writes to its own, and vice
        // versa.
        for (proxy, direction, pod, peer, read, wrote) in [
            (source, "outbound", "client", "src", up, down),
            (destination, "inbound", place, "dst", down, up),
        ] {
            let labels = [("direction", direction), ("pod", pod), ("peer", peer)];
            proxy.expect("tcp_read_bytes_total", &labels, read)?;
            proxy.expect("tcp_write_bytes_total", &labels, wrote)?;
            proxy.expect("tcp_close_total", &labels, 1.0)?;
            // The gauge is back where it was.
            proxy.expect("tcp_open_connections", &labels, 0.0)?;
        }
        Ok(())
    })
}

fn slow_reader_slows_the_writer(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let gate = Gate::default();
        let (_, server) = serve(mesh, place, backends::hold(&gate, backends::exchange()))?;
        let stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        let before = mesh.proxies_memory()?;

        // Writes until all buffers on the path are full.
        let mut plan = Plan::new(0, 0);
        plan.up.1 = 256 << 20;
        let taken = fill(&stream, &plan)?;
        ensure!(taken < BUFFERS, "{taken} bytes went to a reader that reads nothing");
        let grown = mesh.proxies_memory()?.saturating_sub(before);
        ensure!(grown < BUFFERS, "the proxies grew by {grown} bytes for one stopped connection");

        // Now the server reads: what was written arrives, and then an early end of stream.
        drop(stream);
        gate.open();
        wait::until("the server saw the end", || server.finished() == server.accepted())?;
        let failures = server.failures();
        let cut = format!("after {taken} bytes: end of stream");
        ensure!(failures.len() == 1 && failures[0].contains(&cut), "{failures:?}, after {taken} bytes");
        Ok(())
    })
}

/// More than the sockets and the proxies' buffers of one connection can hold, far less than was offered.
const BUFFERS: u64 = 64 << 20;

/// Sends the bytes of a plan until the connection is blocked for a while; returns the number of pattern bytes sent.
fn fill(stream: &TcpStream, plan: &Plan) -> Result<u64> {
    // A write that blocks this long has found every buffer full.
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut out = stream;
    out.write_all(&plan.encode())?;
    let mut pattern = Pattern::new(plan.up.0);
    let mut buffer = vec![0; 64 << 10];
    let mut taken = 0;
    while taken < plan.up.1 {
        pattern.fill(&mut buffer);
        let mut left = &buffer[..];
        while !left.is_empty() {
            match out.write(left) {
                Ok(n) => {
                    taken += n as u64;
                    left = &left[n..];
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(taken),
                Err(e) => bail!("after {taken} bytes: {e}"),
            }
        }
    }
    bail!("all {taken} bytes were accepted although nobody reads")
}

/// Longer than keepalive takes to end a connection (20 s) and than Linkerd's TCP_USER_TIMEOUT (30 s).
const PAUSE: Duration = Duration::from_secs(35);

fn reader_pauses(mesh: &Mesh) -> Result<()> {
    let gate = Gate::default();
    let open = |place| {
        let (_, server) = serve(mesh, place, backends::hold(&gate, backends::exchange()))?;
        let stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        Ok::<_, anyhow::Error>((server, stream))
    };
    // Both at the same time.
    let (far, near) = (open("far")?, open("near")?);
    thread::scope(|scope| {
        let clients = [&far.1, &near.1].map(|stream| scope.spawn(|| Plan::new(AMOUNT, 1).run(stream)));
        thread::sleep(PAUSE);
        gate.open();
        clients.into_iter().try_for_each(|client| {
            let sent = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            Ok::<_, anyhow::Error>(sent?)
        })
    })?;
    far.0.no_failures()?;
    near.0.no_failures()
}

/// More than all buffers on the path hold.
const AMOUNT: u64 = 48 << 20;

fn a_gibibyte(mesh: &Mesh) -> Result<()> {
    for (place, bytes) in [("far", 1 << 30), ("near", 1 << 29)] {
        let (_, server) = serve(mesh, place, backends::exchange())?;
        let stream = mesh.pod("client").connect(mesh.service(place).at(server.port()))?;
        let mut plan = Plan::new(0, bytes);
        plan.piece = 1 << 18;
        plan.run(&stream).context(place)?;
        server.no_failures()?;
    }
    Ok(())
}

fn two_thousand_at_once(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        const MANY: usize = 2000;
        let (_, server) = serve(mesh, place, backends::echo())?;
        let target = mesh.service(place).at(server.port());
        let mut streams = mesh.pod("client").connect_many(target, MANY)?;
        // All are written to before the first is read; reading begins at a random one.
        let mut random = rand::rng();
        for (seed, stream) in streams.iter_mut().enumerate() {
            let mut message = [0; 512];
            Pattern::new(seed as u64).fill(&mut message);
            stream.write_all(&message).with_context(|| format!("connection {seed}"))?;
        }
        let first = random.random_range(0..MANY);
        for at in 0..MANY {
            let seed = (first + at) % MANY;
            let mut message = [0; 512];
            streams[seed].read_exact(&mut message).with_context(|| format!("connection {seed}"))?;
            Pattern::new(seed as u64).check(&message).with_context(|| format!("connection {seed}"))?;
        }
        ensure!(server.accepted() == MANY as u64, "the server accepted {}", server.accepted());
        drop(streams);
        server.no_failures()
    })
}
