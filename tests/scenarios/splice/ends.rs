//! The ends of spliced connections.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use weft_tests::{
    backends::{self, Behaviour},
    load::Pattern,
    mesh::Mesh,
    wait,
};

use super::{MESSAGE, MOVED, ROUNDS, echoes, warm};

/// More than one message of sk_msg, less than a queue holds.
const LETTER: usize = 600_000;

pub(super) fn ends_are_passed_on(mesh: &Mesh) -> Result<()> {
    // The client's half-close, then the server's answer.
    let (stream, server, _) = warm(mesh, answer_at_the_end())?;
    (&stream).write_all(&letter())?;
    stream.shutdown(Shutdown::Write)?;
    ensure!(to_the_end(&stream)? == letter(), "the answer differs");
    drop(stream);
    server.no_failures()?;

    // The server resets after its last bytes.
    let (stream, _server, _) = warm(
        mesh,
        Arc::new(|accepted| {
            (&accepted.stream).write_all(&letter())?;
            SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))
        }),
    )?;
    let mut got = vec![0; LETTER];
    (&stream).read_exact(&mut got).context("what the server sent before its reset")?;
    ensure!(got == letter(), "the server's last bytes differ");
    let end = wait::promptly("the server's reset", || the_end(&stream))?;
    ensure!(end.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{end:?}");

    // The client resets after its last bytes.
    let (report, reported) = mpsc::channel();
    let (stream, _server, _) = warm(
        mesh,
        Arc::new(move |accepted| {
            let mut got = vec![0; LETTER];
            (&accepted.stream).read_exact(&mut got)?;
            let end = the_end(&accepted.stream);
            // Fails only if the scenario has already failed.
            let _ = report.send((got == letter(), end.map_err(|e| e.kind())));
            Ok(())
        }),
    )?;
    (&stream).write_all(&letter())?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    let seen = reported.recv_timeout(wait::PROMPTLY).context("the client's reset")?;
    ensure!(seen == (true, Err(ErrorKind::ConnectionReset)), "{seen:?}");
    Ok(())
}

fn answer_at_the_end() -> Behaviour {
    Arc::new(|accepted| {
        let got = to_the_end(&accepted.stream)?;
        (&accepted.stream).write_all(&got)?;
        accepted.stream.shutdown(Shutdown::Write)
    })
}

/// The result of a read when nothing more arrives. A read that sleeps on a spliced socket when it is reset returns
/// EAGAIN, and the next one the reset (docs/operations.md).
fn the_end(mut stream: &TcpStream) -> std::io::Result<usize> {
    match stream.read(&mut [0; 1]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => stream.read(&mut [0; 1]),
        end => end,
    }
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

pub(super) fn revoked_is_reset(mesh: &Mesh) -> Result<()> {
    let (report, reported) = mpsc::channel();
    let (stream, _server, proxy) = warm(
        mesh,
        Arc::new(move |accepted| {
            let end = the_end(&accepted.stream);
            let _ = report.send(end.map_err(|e| e.kind()));
            Ok(())
        }),
    )?;
    mesh.change_pod("near", |pod| pod.policy("deny"))?;
    let seen = reported.recv_timeout(wait::EVENTUALLY).context("the server's end")?;
    ensure!(seen == Err(ErrorKind::ConnectionReset), "the server got {seen:?}");
    let end = the_end(&stream).map_err(|e| e.kind());
    ensure!(end == Err(ErrorKind::ConnectionReset), "the client got {end:?}");
    ensure!((&stream).write(b"more").is_err(), "the client can still write");
    proxy.expect("weft_splice_open", &[], 0.0)?;
    proxy.expect_some("inbound_tcp_authz_terminate_total", &[("pod", "near")])?;
    mesh.change_pod("near", |pod| pod.policy("all-unauthenticated"))?;
    wait::until_ok("the pod accepts connections again", || warm(mesh, backends::sink()).map(drop))
}

pub(super) fn kill_and_return(mesh: &Mesh) -> Result<()> {
    let (stream, _server, _) = warm(mesh, backends::sink())?;
    mesh.proxy("a").kill()?;
    let end = the_end(&stream).map_err(|e| e.kind());
    ensure!(end == Err(ErrorKind::ConnectionReset), "the client got {end:?}");
    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    let (stream, ..) = wait::until_ok("spliced again", || warm(mesh, backends::sink()))?;
    mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 2.0)?;
    drop(stream);
    wait::until_ok("no redirect is left", || mesh.proxy("a").metrics()?.expect("weft_splice_flows", &[], 0.0))
}

pub(super) fn successor_dies(mesh: &Mesh) -> Result<()> {
    let (old, _server, _) = warm(mesh, backends::echo())?;
    let proxy = mesh.proxy("a");
    proxy.take_over()?;
    proxy.kill_latest()?;
    wait::until("only the predecessor is left, and drains", || proxy.metrics().is_err())?;
    proxy.revive()?;
    mesh.until_enrolled()?;
    ensure!(proxy.draining()? == 1, "the old connection has no process");
    // The new connection uses other flows, while the predecessor still publishes how much it has relayed.
    let (new, ..) = wait::until_ok("spliced again", || warm(mesh, backends::echo()))?;
    let watch = proxy.watch()?;
    for _ in 0..4 {
        echoes(&old, MESSAGE, ROUNDS).context("the existing connection")?;
    }
    let moved = watch.now()?.value("weft_capture_total", MOVED);
    ensure!(moved >= 4.0 * ROUNDS as f64, "the kernel moved {moved} messages of the old connection");
    echoes(&new, MESSAGE, ROUNDS)?;
    proxy.metrics()?.expect("weft_splice_flows", &[], 4.0)?;
    drop((old, new));
    wait::until_ok("no redirect is left", || proxy.metrics()?.expect("weft_splice_flows", &[], 0.0))
}
