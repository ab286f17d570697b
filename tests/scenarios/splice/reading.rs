//! Readers of spliced connections: one that does not read, and one that waits for a full buffer.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    sync::{Arc, mpsc},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{RecvFlags, recv};
use weft_tests::{
    backends::{self, Accepted, behaviour::Gate},
    load::Pattern,
    mesh::Mesh,
    wait,
};

use super::{MESSAGE, MOVED, warm};

/// The limit of the queue with its overhead, and the buffers of TCP and the proxy; far less than is sent.
const BUFFERS: u64 = 32 << 20;

pub(super) fn a_reader_that_does_not_read(mesh: &Mesh) -> Result<()> {
    let (gate, (report, reported)) = (Gate::default(), mpsc::channel());
    let read = move |accepted: &Accepted| {
        let (mut pattern, mut buffer) = (Pattern::new(11), vec![0; 64 << 10]);
        loop {
            match (&accepted.stream).read(&mut buffer)? {
                0 => break,
                n => pattern.check(&buffer[..n]).map_err(std::io::Error::other)?,
            }
        }
        let _ = report.send(pattern.position());
        Ok(())
    };
    let (mut stream, server, proxy) = warm(mesh, backends::hold(&gate, Arc::new(read)))?;
    // A write that blocks this long has found every buffer full.
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
    ensure!(taken < BUFFERS, "{taken} bytes were accepted although nobody reads");
    proxy.expect_some("weft_capture_total", &[("hook", "sk_msg"), ("outcome", "relayed_queue_full")])?;
    gate.open();
    stream.shutdown(Shutdown::Write)?;
    let read = reported.recv_timeout(wait::EVENTUALLY).context("the reader's count")?;
    ensure!(read == taken, "{read} of {taken} bytes were read");
    drop(stream);
    server.no_failures()
}

pub(super) fn a_read_that_waits_for_all(mesh: &Mesh) -> Result<()> {
    let read_all = |accepted: &Accepted| {
        let mut message = [0; 2 * MESSAGE];
        loop {
            let mut read = 0;
            while read < message.len() {
                match recv(&accepted.stream, &mut message[read..], RecvFlags::WAITALL)?.0 {
                    0 => return Ok(()),
                    n => read += n,
                }
            }
            (&accepted.stream).write_all(&message)?;
        }
    };
    let server = mesh.pod("near").serve(mesh.unused_port(), Arc::new(read_all))?;
    let proxy = mesh.proxy("a").watch()?;
    let mut answer = vec![0; 2 * MESSAGE];
    for _ in 0..20 {
        let stream = mesh.pod("client").connect(mesh.service("near").at(server.port()))?;
        for _ in 0..5 {
            for half in [[1; MESSAGE], [2; MESSAGE]] {
                (&stream).write_all(&half)?;
                // Time for the reader to read it and to sleep again.
                std::thread::sleep(Duration::from_millis(5));
            }
            wait::promptly("the answer", || (&stream).read_exact(&mut answer))??;
            ensure!(answer == [[1; MESSAGE], [2; MESSAGE]].concat(), "the answer differs");
        }
    }
    proxy.expect_some("weft_capture_total", &[("hook", "sk_msg"), ("outcome", "relayed_reader_waits")])?;
    proxy.expect_some("weft_capture_total", MOVED)?;
    server.no_failures()
}
