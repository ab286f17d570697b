//! Clients that ask for much and read nothing.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use weft_tests::{
    attack::http2::{self, Frames, flag, kind},
    backends::{Accepted, Behaviour},
    mesh::Mesh,
};

use super::{by_each, survive};

/// What the application would send to each request.
const RESPONSE: usize = 100 << 20;

/// After 10 s, a client counts as one that does not read.
const SLOW: Duration = Duration::from_secs(12);

pub(super) fn zero_window_http1(mesh: &Mesh) -> Result<()> {
    const CLIENTS: usize = 100;
    by_each(mesh, |attacker| {
        let sent = Arc::new(AtomicU64::new(0));
        let server = mesh.pod("victim").serve(mesh.unused_port(), large_responses(&sent))?;
        let watch = mesh.proxy(attacker.node).watch()?;
        let target = mesh.pod("victim").at(server.port());
        // 64 KiB per connection and direction, and what TLS needs.
        survive(mesh, "100 clients that do not read", 60, || {
            let streams = attacker.pod.connect_many(target, CLIENTS)?;
            for mut stream in &streams {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n")?;
            }
            // Until all buffers on the way are full.
            let mut before = u64::MAX;
            while sent.load(Ordering::Relaxed) != before {
                before = sent.load(Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1));
            }
            thread::sleep(SLOW);
            Ok(())
        })?;
        attacker.noticed(mesh, &watch, "slow reader", "slow reader")?;
        let sent = sent.load(Ordering::Relaxed);
        println!("    the application could send {} MiB of {}", sent >> 20, (RESPONSE * CLIENTS) >> 20);
        ensure!(sent < (RESPONSE * CLIENTS / 2) as u64, "the application did not have to wait");
        Ok(())
    })
}

/// Answers the first request of each connection, as fast as it is read.
fn large_responses(sent: &Arc<AtomicU64>) -> Behaviour {
    let sent = sent.clone();
    Arc::new(move |accepted: &Accepted| {
        let mut stream = &accepted.stream;
        let mut answer = || -> io::Result<()> {
            io::Read::read(&mut stream, &mut [0; 4096])?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {RESPONSE}\r\n\r\n").as_bytes())?;
            for _ in 0..RESPONSE / 16_384 {
                stream.write_all(&[b'a'; 16_384])?;
                sent.fetch_add(16_384, Ordering::Relaxed);
            }
            Ok(())
        };
        // The client goes away without reading everything.
        let _ = answer();
        Ok(())
    })
}

pub(super) fn zero_window_http2(mesh: &Mesh) -> Result<()> {
    const CONNECTIONS: usize = 20;
    const STREAMS: u32 = 200;
    by_each(mesh, |attacker| {
        let server = mesh.pod("victim").serve(
            mesh.unused_port(),
            http2::server(|stream| {
                // A conforming application sends at most the window: 65 535 bytes.
                (0..3).fold(Frames::default().block(0, stream, &[0x88]), |frames, _| {
                    frames.frame(kind::DATA, 0, stream, &[b'a'; 16_384])
                })
            }),
        )?;
        let target = mesh.pod("victim").at(server.port());
        let watch = mesh.proxy(attacker.node).watch()?;
        // At most the 64 KiB of each stream's window; how much of it is there at a time depends on the load.
        survive(mesh, "4 000 streams without a window", 260, || {
            let streams = attacker.pod.connect_many(target, CONNECTIONS)?;
            for mut stream in &streams {
                let requests = (0..STREAMS)
                    .fold(Frames::client(0), |frames, n| frames.request(flag::END_STREAM, 2 * n + 1, &[]));
                stream.write_all(requests.bytes())?;
            }
            thread::sleep(SLOW);
            Ok(())
        })?;
        attacker.noticed(mesh, &watch, "slow reader", "slow reader")
    })
}
