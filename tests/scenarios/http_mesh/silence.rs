//! Endpoints that disappear without a word, and readers that only pause.

use std::{
    io::{Read, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    dial::RetryingReader,
    http::{Message, To},
    mesh::{Description, Mesh, Pod},
    suite::Area,
    wait,
};

use super::ways::{ask, cluster, each_way, ok};

/// The timeout that the proxies have here.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn area() -> Area {
    Area::new("http_silence", short_timeout)
        .scenario(
            "silent_endpoint",
            "A request on a kept connection to an endpoint whose packets are lost gets 502, long before the kernel gives \
             up; the endpoint is used again when it is back.",
            silent_endpoint,
        )
        .scenario(
            "pausing_reader",
            "An application that pauses in the middle of an upload, for longer than the timeout, receives all of it.",
            pausing_reader,
        )
        .within(Duration::from_secs(150))
}

fn short_timeout() -> Description {
    cluster().proxy_arg(&format!("--http-silence-timeout={}s", TIMEOUT.as_secs()))
}

fn nft(pod: &Pod<'_>, rules: &str) -> Result<()> {
    weft_vm::nft::apply(pod.netns().path(), rules).with_context(|| format!("nft in {}", pod.name()))
}

fn silent_endpoint(mesh: &Mesh) -> Result<()> {
    // On the same node there is no network in between.
    let (client, far) = (mesh.pod("client"), mesh.pod("far"));
    let origin = weft_tests::http::Origin::answering(&far, mesh.unused_port(), |_| ok("served"))?;
    let service = mesh.service("far").at(origin.port());
    let mut wire = weft_tests::http::Wire::new(client.connect(service)?);
    let first = ask(&mut wire, "/first", "")?;
    ensure!(first.head.status() == 200, "{first:?}");
    let watch = mesh.proxy("a").watch()?;
    nft(
        &far,
        &format!(
            "table inet silent {{ chain in {{ type filter hook prerouting priority -400; ip saddr {} drop; }}; }}\n",
            client.v4
        ),
    )?;
    let unanswered = ask(&mut wire, "/silent", "");
    nft(&far, "delete table inet silent\n")?;
    let unanswered = unanswered?;
    ensure!(unanswered.head.status() == 502, "{unanswered:?}");
    watch.expect("outbound_http_errors_total", &[("pod", "client"), ("error", "i/o")], 1.0)?;
    wait::until_ok("the endpoint is used again", || {
        let mut wire = weft_tests::http::Wire::new(client.connect(service)?);
        let back = ask(&mut wire, "/back", "")?;
        ensure!(back.head.status() == 200, "{back:?}");
        Ok(())
    })
}

/// More than all socket buffers on the way.
const UPLOAD: usize = 48 << 20;

fn pausing_reader(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let server = way.serve(Arc::new(|accepted| {
            let mut stream = RetryingReader(&accepted.stream);
            let mut left = UPLOAD;
            let mut buffer = vec![0; 65_536];
            // The head, and a little of the body.
            let read = stream.read(&mut buffer)?;
            let head = buffer.windows(4).position(|end| end == b"\r\n\r\n").map_or(read, |at| at + 4);
            left -= read - head;
            thread::sleep(4 * TIMEOUT);
            while left > 0 {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => left = left.saturating_sub(read),
                }
            }
            (&accepted.stream).write_all(&ok("all of it"))?;
            Ok(())
        }))?;
        let mut client = way.connect(server.port())?;
        client.send(format!("PUT / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: {UPLOAD}\r\n\r\n"))?;
        let part = vec![b'a'; 1 << 20];
        for _ in 0..UPLOAD / part.len() {
            client.send(&part)?;
        }
        let response = Message::response(&mut client, To::Other)?;
        ensure!(response.head.status() == 200 && response.text() == "all of it", "{response:?}");
        Ok(())
    })
}
