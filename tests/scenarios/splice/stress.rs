//! Streams with every combination of writers, readers and closings.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    dial,
    mesh::Mesh,
    stress::{CLOSINGS, READERS, Stream, WRITERS},
    wait,
};

use super::{MOVED, SPLICED};

/// Concurrent streams, so that they also compete.
const WORKERS: u64 = 4;
/// All combinations of one direction, five times with other sizes and another opposite direction.
const STREAMS: u64 = 5 * (WRITERS.len() * READERS.len() * CLOSINGS.len()) as u64;

pub(super) fn spliced(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    let bytes = run(mesh, "near", STREAMS)?;
    let labels = [("direction", "inbound"), ("pod", "near"), ("peer", "src")];
    wait::until_ok("every byte is counted", || {
        let now = proxy.now()?;
        let counted = ["tcp_read_bytes_total", "tcp_write_bytes_total"].map(|name| now.value(name, &labels));
        ensure!(counted.iter().sum::<f64>() == bytes as f64, "{counted:?} of {bytes}");
        Ok(())
    })?;
    let moved = proxy.now()?.value(SPLICED, &[]);
    ensure!(moved > 0.1 * bytes as f64, "the kernel moved {moved} of {bytes} bytes");
    println!("{STREAMS} streams, {bytes} bytes, {:.0} % moved by the kernel", 100.0 * moved / bytes as f64);
    proxy.expect("weft_splice_connections_total", &[], STREAMS as f64)?;
    proxy.expect("weft_splice_flows", &[], 0.0)
}

pub(super) fn cross_node(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("a").watch()?;
    let streams = STREAMS / 5;
    run(mesh, "far", streams)?;
    // A client that has already closed its half when the other node is reached has no socket that could be spliced.
    let names = ["weft_splice_hops_total", "weft_splice_late_total"];
    wait::until_ok("every stream is counted", || {
        let now = proxy.now()?;
        let [hops, late] = names.map(|name| now.value(name, &[]));
        ensure!(hops + late == streams as f64, "{hops} and {late} of {streams}");
        ensure!(hops >= 0.8 * streams as f64, "only {hops} of {streams} were spliced");
        Ok(())
    })?;
    proxy.expect_some("weft_capture_total", MOVED)?;
    proxy.expect("weft_splice_flows", &[], 0.0)
}

/// Runs `streams` between the client and `server`; returns how many bytes they carried.
fn run(mesh: &Mesh, server: &str, streams: u64) -> Result<u64> {
    let (next, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let (client, pod) = (mesh.pod("client"), mesh.pod(server));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let port = mesh.unused_port();
                let (next, bytes, client, pod) = (&next, &bytes, &client, &pod);
                scope.spawn(move || -> Result<()> {
                    let listener = pod.netns().run(|| TcpListener::bind(("0.0.0.0", port)))??;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= streams {
                            return Ok(());
                        }
                        let stream = Stream::new(number);
                        let connection = client.connect(pod.at(port))?;
                        let accepted = dial::with_timeouts(listener.accept()?.0)?;
                        thread::scope(|scope| {
                            let served = scope.spawn(|| {
                                let served = stream.server(&accepted);
                                drop(accepted);
                                served
                            });
                            let sent = stream.client(&connection);
                            drop(connection);
                            let served = served.join().expect("a server does not panic");
                            sent.and(served).with_context(|| format!("stream {number}: {stream:?}"))
                        })?;
                        bytes.fetch_add(stream.bytes(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(bytes.into_inner())
}
