//! Heads of HTTP/1 requests that are slow, large, or never end.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::{attack::Flood, mesh::Mesh, suite::Area};

use super::{HEAD_TIMEOUT, answering, by_each, cluster, survive};

pub(super) fn area() -> Area {
    Area::new("http_hostile_heads", cluster)
        .scenario(
            "slow_heads",
            "2 000 connections with half a request head, to which a byte is added now and then, end at the timeout.",
            slow_heads,
        )
        .alone(
            "many_large_half_heads",
            "Many half heads of 60 KB each fill only the attacker's quota of requests in flight.",
            || cluster().proxy_arg(&format!("--max-requests={MAX_REQUESTS}")),
            many_large_half_heads,
        )
        .scenario(
            "header_bombs",
            "Heads that are too large, have too many fields, or begin with endless empty lines are refused.",
            header_bombs,
        )
}

const SLOW: usize = 2_000;
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: victim\r\nX-Slow: ";

fn slow_heads(mesh: &Mesh) -> Result<()> {
    by_each(mesh, |attacker| {
        let origin = answering(mesh)?;
        let watch = mesh.proxy(attacker.node).watch()?;
        let target = mesh.pod("victim").at(origin.port());
        survive(mesh, "2 000 slow heads", 80, || {
            let streams = attacker.pod.connect_many(target, SLOW)?;
            for mut stream in &streams {
                stream.write_all(HALF_HEAD)?;
            }
            let begun = Instant::now();
            while begun.elapsed() < HEAD_TIMEOUT {
                for mut stream in &streams {
                    let _ = stream.write_all(b"a");
                }
                thread::sleep(Duration::from_millis(500));
            }
            let still = streams.iter().filter(|stream| !is_refused(stream)).count();
            ensure!(still == 0, "{still} connections are open after {:?}", begun.elapsed());
            Ok(())
        })?;
        attacker.noticed(mesh, &watch, "bad request", "a request head that takes too long")?;
        ensure!(origin.requests().is_empty(), "a request reached the application");
        Ok(())
    })
}

/// Whether the connection ends soon, with no answer or an error.
fn is_refused(mut stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(2 * HEAD_TIMEOUT));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer.is_empty() || !answer.starts_with(b"HTTP/1.1 2"),
        Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
    }
}

const LARGE: usize = 1_500;
/// One workload may have half of them, of up to 4 KiB each: 40 MB.
const MAX_REQUESTS: usize = 20_000;

fn many_large_half_heads(mesh: &Mesh) -> Result<()> {
    let head = [HALF_HEAD, &[b'a'; 60_000]].concat();
    by_each(mesh, |attacker| {
        let origin = answering(mesh)?;
        let watch = mesh.proxy(attacker.node).watch()?;
        let target = mesh.pod("victim").at(origin.port());
        survive(mesh, "1 500 half heads of 60 KB", 100, || {
            let mut streams = Vec::new();
            for _ in 0..LARGE {
                // The quota of connections may refuse it.
                let Ok(mut stream) = attacker.pod.connect(target) else { continue };
                let _ = stream.write_all(&head);
                streams.push(stream);
            }
            println!("    {} of {LARGE} connections were accepted", streams.len());
            let still = streams.iter().filter(|stream| !is_refused(stream)).count();
            ensure!(still == 0, "{still} connections are open");
            Ok(())
        })?;
        attacker.noticed(mesh, &watch, "bad request", "too many large request heads at once")
    })
}

fn header_bombs(mesh: &Mesh) -> Result<()> {
    let start = "GET / HTTP/1.1\r\nHost: victim\r\n";
    let bombs = [
        (
            "one field of 1 MB",
            format!("{start}X: {}\r\n\r\n", "a".repeat(1 << 20)),
            "bad request",
            "too large",
        ),
        (
            "100 000 small fields",
            format!("{start}{}\r\n", "X: y\r\n".repeat(100_000)),
            "bad request",
            "too large",
        ),
        (
            "300 fields",
            format!("{start}{}\r\n", "X: y\r\n".repeat(300)),
            "protocol error",
            "message head is too large",
        ),
        (
            "empty lines",
            format!("{start}\r\n{}", "\r\n".repeat(100_000)),
            "bad request",
            "an empty line before",
        ),
    ];
    by_each(mesh, |attacker| {
        for (what, bomb, error, reason) in &bombs {
            let origin = answering(mesh)?;
            let watch = mesh.proxy(attacker.node).watch()?;
            let flood = Flood {
                netns: attacker.pod.netns(),
                target: mesh.pod("victim").at(origin.port()),
                clients: 8,
                lasts: Duration::from_secs(2),
            };
            let flooded = survive(mesh, what, 32, || flood.run(bomb.as_bytes(), |_| vec![b'\n'; 1]))?;
            println!("    {flooded}");
            ensure!(flooded.ended > 0, "{what}: no connection was ended");
            attacker.noticed(mesh, &watch, error, reason)?;
            let requests = origin.requests();
            let good = requests.iter().all(|request| request.head.fields.len() < 300);
            ensure!(good, "{what}: the application received it");
        }
        Ok(())
    })
}
