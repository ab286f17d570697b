//! Bodies of requests that never end or carry too much besides data, and clients that do not read.

use std::{io::Write, thread, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    attack::Flood,
    backends::{self, behaviour::Gate},
    mesh::Mesh,
    suite::Area,
};

use super::{answering, by_each, cluster, readers, streams, survive};

pub(super) fn area() -> Area {
    Area::new("http_hostile_bodies", cluster)
        .scenario(
            "half_open_uploads",
            "1 000 uploads that stop in the middle cost little memory, and nobody waits for them.",
            half_open_uploads,
        )
        .scenario(
            "endless_bodies",
            "Bodies without end to an application that does not read fill two socket buffers and nothing else.",
            endless_bodies,
        )
        .scenario(
            "chunk_floods",
            "Chunk extensions and trailers without end are refused.",
            chunk_floods,
        )
        .scenario(
            "zero_window_http1",
            "Clients that do not read 100 large responses make the application wait, the proxies buffer little, and it is \
             counted.",
            readers::zero_window_http1,
        )
        .within(Duration::from_secs(120))
        .scenario(
            "zero_window_http2",
            "HTTP/2 streams that are given no window make the application wait, the proxies buffer little, and it \
             is counted.",
            readers::zero_window_http2,
        )
        .within(Duration::from_secs(120))
        .scenario(
            "idle_streams",
            "Thousands of HTTP/2 streams that wait for an answer, with large heads, fill only the attacker's quota.",
            streams::idle_streams,
        )
        .within(Duration::from_secs(120))
}

fn half_open_uploads(mesh: &Mesh) -> Result<()> {
    const UPLOADS: usize = 1_000;
    by_each(mesh, |attacker| {
        // The application reads what there is, and never answers.
        let sink = mesh.pod("victim").serve(mesh.unused_port(), backends::sink())?;
        let target = mesh.pod("victim").at(sink.port());
        survive(mesh, "1 000 uploads that stop in the middle", 150, || {
            let streams = attacker.pod.connect_many(target, UPLOADS)?;
            for mut stream in &streams {
                stream.write_all(b"POST / HTTP/1.1\r\nHost: victim\r\nContent-Length: 1000000\r\n\r\n")?;
                stream.write_all(&[b'a'; 2_000])?;
            }
            thread::sleep(Duration::from_secs(2));
            Ok(())
        })
    })
}

fn endless_bodies(mesh: &Mesh) -> Result<()> {
    by_each(mesh, |attacker| {
        let never = Gate::default();
        let behaviour = backends::hold(&never, backends::sink());
        let sink = mesh.pod("victim").serve(mesh.unused_port(), behaviour)?;
        let target = mesh.pod("victim").at(sink.port());
        survive(mesh, "50 bodies without end", 40, || {
            let streams = attacker.pod.connect_many(target, 50)?;
            for mut stream in &streams {
                stream.write_all(b"POST / HTTP/1.1\r\nHost: victim\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                stream.set_nonblocking(true)?;
            }
            let part = [b"4000\r\n", &[b'a'; 0x4000][..], b"\r\n"].concat();
            let mut left: Vec<Vec<u8>> = vec![Vec::new(); streams.len()];
            let mut sent = 0;
            for _ in 0..300 {
                for (mut stream, left) in streams.iter().zip(&mut left) {
                    if left.is_empty() {
                        left.extend(part.iter().rev());
                    }
                    let bytes: Vec<u8> = left.iter().rev().copied().collect();
                    if let Ok(n) = stream.write(&bytes) {
                        left.truncate(left.len() - n);
                        sent += n;
                    }
                }
                thread::sleep(Duration::from_millis(10));
            }
            println!("    {} MiB were taken before everything waited", sent >> 20);
            Ok(())
        })
    })
}

fn chunk_floods(mesh: &Mesh) -> Result<()> {
    let start = b"POST / HTTP/1.1\r\nHost: victim\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = [b"1;x=", &[b'y'; 1000][..], b"\r\na\r\n"].concat();
    let mut trailer_first = start.to_vec();
    trailer_first.extend(b"0\r\n");
    let floods: [(&str, &[u8], Vec<u8>, &str); 3] = [
        ("chunk extensions", start, extension.repeat(16), "too many chunk extensions"),
        ("an extension without end", b"", vec![b'z'; 4096], "a line of a chunked body that is too long"),
        ("trailers", &trailer_first, b"X-Trailer: bomb\r\n".repeat(256), "too many trailers"),
    ];
    by_each(mesh, |attacker| {
        for (what, first, next, reason) in &floods {
            let origin = answering(mesh)?;
            let watch = mesh.proxy(attacker.node).watch()?;
            mesh.mark_logs();
            let flood = Flood {
                netns: attacker.pod.netns(),
                target: mesh.pod("victim").at(origin.port()),
                clients: 8,
                lasts: Duration::from_secs(2),
            };
            let first = if first.is_empty() { [&start[..], b"1;"].concat() } else { first.to_vec() };
            let flooded = survive(mesh, what, 32, || flood.run(&first, |_| next.clone()))?;
            println!("    {flooded}");
            ensure!(flooded.ended > 0, "{what}: no connection was ended");
            attacker.noticed(mesh, &watch, "bad request", reason)?;
            ensure!(origin.requests().is_empty(), "{what}: a whole request reached the application");
        }
        Ok(())
    })
}
