//! Bodies are streamed as they come, and broken ones are seen as broken.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use weft_tests::{
    dial,
    http::{Framing, Head, Message, To, curl},
    load::Pattern,
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::paths::{DATE, cluster, each_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_streaming", cluster)
        .scenario("large_download", "100 MB arrive byte by byte as they were sent.", large_download)
        .within(Duration::from_secs(180))
        .scenario(
            "large_upload",
            "100 MB with a length, and 100 MB in chunks, arrive at the origin.",
            large_upload,
        )
        .within(Duration::from_secs(180))
        .scenario(
            "server_sent_events",
            "Each server-sent event arrives before the next one is sent.",
            server_sent_events,
        )
        .scenario(
            "both_ways",
            "Each chunk of a request is answered, and the answer arrives, before the next one is sent.",
            both_ways,
        )
        .scenario("long_poll", "A response that takes five seconds arrives.", long_poll)
        .scenario(
            "half_closed_client",
            "A client that closes its half after its request receives the response.",
            half_closed_client,
        )
        .scenario(
            "reset_client",
            "A client that resets its connection while the application thinks resets the application's connection at once.",
            reset_client,
        )
        .scenario(
            "truncated",
            "A response that ends before its length or its last chunk is seen as broken.",
            truncated,
        )
        .scenario("reset", "A response that is reset in its body is seen as broken.", reset)
        .scenario("client_leaves", "The origin sees that the client has left in the middle.", client_leaves)
}

const LARGE: u64 = 100_000_000;

fn large_download(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            while session.request()?.is_some() {
                session
                    .wire
                    .send(format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: {LARGE}\r\n\r\n"))?;
                send_pattern(|part| Ok(session.wire.send(part)?))?;
            }
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        client.send(format!("GET /large HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
        let head = Head::read(&mut client)?;
        let mut expected = Pattern::new(0);
        Framing::of(&head, To::Other)?.read(&mut client, |part| Ok(expected.check(part)?))?;
        ensure!(expected.position() == LARGE, "{} bytes were received", expected.position());
        origin.no_failures()
    })
}

fn large_upload(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            while let Some(head) = session.head()? {
                let mut expected = Pattern::new(0);
                Framing::of(&head, To::Other)?.read(&mut session.wire, |part| Ok(expected.check(part)?))?;
                session.wire.send(ok(expected.position().to_string()))?;
            }
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        let host = path.host(origin.port());
        client.send(format!("PUT /large HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGE}\r\n\r\n"))?;
        send_pattern(|part| Ok(client.send(part)?))?;
        let counted = Message::response(&mut client, To::Other)?.text();
        ensure!(counted == LARGE.to_string(), "the origin received {counted} bytes");

        client.send(format!("PUT /large HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"))?;
        send_pattern(|part| {
            client.send(format!("{:x}\r\n", part.len()))?;
            client.send(part)?;
            Ok(client.send("\r\n")?)
        })?;
        client.send("0\r\n\r\n")?;
        let counted = Message::response(&mut client, To::Other)?.text();
        ensure!(counted == LARGE.to_string(), "the origin received {counted} bytes in chunks");
        origin.no_failures()
    })
}

/// Sends [`LARGE`] bytes in parts of uneven length.
fn send_pattern(mut send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut pattern = Pattern::new(0);
    let mut part = vec![0; 70_001];
    while pattern.position() < LARGE {
        let left = usize::try_from(LARGE - pattern.position())?;
        let length = left.min(part.len());
        pattern.fill(&mut part[..length]);
        send(&part[..length])?;
    }
    Ok(())
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

fn server_sent_events(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        // The client's word that it has read an event.
        let (read, was_read) = mpsc::channel();
        let was_read = Mutex::new(was_read);
        let origin = path.origin(move |session| {
            if session.request()?.is_none() {
                return Ok(());
            }
            session.wire.send(format!(
                "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Type: text/event-stream\r\n{CHUNKED}"
            ))?;
            let was_read = was_read.lock().unwrap_or_else(PoisonError::into_inner);
            for number in 0..20 {
                let event = event(number);
                session.wire.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
                let confirmed: i32 = was_read
                    .recv_timeout(dial::TIMEOUT)
                    .with_context(|| format!("event {number} was not read"))?;
                ensure!(confirmed == number, "event {confirmed} was read instead of {number}");
            }
            session.wire.send("0\r\n\r\n")?;
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        client.send(format!(
            "GET /events HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
            path.host(origin.port())
        ))?;
        let head = Head::read(&mut client)?;
        ensure!(head.values("content-type") == ["text/event-stream"], "the client received {head:?}");
        for number in 0..20 {
            let chunk = Framing::next_chunk(&mut client)?.context("the stream ended")?;
            let chunk = String::from_utf8(chunk)?;
            ensure!(chunk == event(number), "{chunk:?} is not event {number}");
            read.send(number)?;
        }
        ensure!(Framing::next_chunk(&mut client)?.is_none(), "there are more events than were sent");
        origin.no_failures()
    })
}

fn event(number: i32) -> String {
    format!("id: {number}\ndata: event number {number}\n\n")
}

fn both_ways(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            if session.head()?.is_none() {
                return Ok(());
            }
            session.wire.send(format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\n{CHUNKED}"))?;
            while let Some(chunk) = Framing::next_chunk(&mut session.wire)? {
                session.wire.send(format!("{:x}\r\n", chunk.len()))?;
                session.wire.send(chunk)?;
                session.wire.send("\r\n")?;
            }
            session.wire.send("0\r\n\r\n")?;
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        client.send(format!("POST /echo HTTP/1.1\r\nHost: {}\r\n{CHUNKED}", path.host(origin.port())))?;
        ensure!(
            Head::read(&mut client)?.status() == 200,
            "the response does not begin before the request ends"
        );
        for number in 0..20 {
            let sent = format!("chunk {number}");
            client.send(format!("{:x}\r\n{sent}\r\n", sent.len()))?;
            let answer = Framing::next_chunk(&mut client)?.context("the stream ended")?;
            ensure!(answer == sent.as_bytes(), "{:?} is not {sent:?}", String::from_utf8_lossy(&answer));
        }
        client.send("0\r\n\r\n")?;
        ensure!(Framing::next_chunk(&mut client)?.is_none(), "more was received than sent");
        origin.no_failures()
    })
}

fn long_poll(mesh: &Mesh) -> Result<()> {
    const WAIT: Duration = Duration::from_secs(5);
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            thread::sleep(WAIT);
            ok(request.head.target())
        })?;
        let begun = Instant::now();
        let body = curl(&path.client, &[&path.url(origin.port(), "/poll")])?.text()?;
        ensure!(body == "/poll" && begun.elapsed() >= WAIT, "{body:?} after {:?}", begun.elapsed());
        origin.no_failures()
    })
}

fn reset_client(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let origin = path.origin(move |session| {
            let Some(head) = session.head()? else { return Ok(()) };
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
            tell.send(format!("{head:?}"))?;
            // It thinks, without end.
            let end = match session.wire.some() {
                Ok(more) if more.is_empty() => "an end".to_owned(),
                Ok(more) => format!("{} bytes", more.len()),
                Err(e) => e.kind().to_string(),
            };
            Ok(tell.send(end)?)
        })?;
        let next = || told.recv_timeout(wait::here(Duration::from_secs(3)));
        let client = path.connect(&origin)?;
        client.send(format!("GET /think HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
        next().context("the request has not arrived")?;
        client.reset()?;
        drop(client);
        let end = next().context("the origin is not told that its client has left")?;
        ensure!(end == "connection reset", "the origin saw {end}");
        origin.no_failures()
    })
}

fn half_closed_client(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            thread::sleep(Duration::from_millis(300));
            ok(&request.body)
        })?;
        let host = path.host(origin.port());
        for request in [
            format!("GET /half HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nhalf"),
            format!("GET /half HTTP/1.1\r\nHost: {host}\r\n{CHUNKED}4\r\nhalf\r\n0\r\n\r\n"),
        ] {
            let mut client = path.connect(&origin)?;
            client.send(request)?;
            client.half_close()?;
            let response = Message::response(&mut client, To::Other)?;
            ensure!(response.text() == "half", "the client received {response:?}");
            let more = client.all()?;
            ensure!(more.is_empty(), "after the response, the client received {} bytes", more.len());
        }
        origin.no_failures()
    })
}

/// How a response breaks, and curl's exit codes for it.
struct Broken {
    head: &'static str,
    body: &'static str,
    /// 18: a partial file; 56: a failure while receiving.
    exits: &'static [i32],
}

const BROKEN: [Broken; 3] = [
    Broken { head: "Content-Length: 1000\r\n\r\n", body: "only this", exits: &[18, 56] },
    Broken { head: CHUNKED, body: "9\r\nonly this\r\n", exits: &[18, 56] },
    Broken { head: CHUNKED, body: "ff\r\nonly this", exits: &[18, 56] },
];

fn truncated(mesh: &Mesh) -> Result<()> {
    broken(mesh, false)
}

fn reset(mesh: &Mesh) -> Result<()> {
    broken(mesh, true)
}

fn broken(mesh: &Mesh, by_reset: bool) -> Result<()> {
    each_path(mesh, |path| {
        for (number, Broken { head, body, exits }) in BROKEN.iter().enumerate() {
            let origin = path.origin(move |session| {
                if session.request()?.is_some() {
                    session.wire.send(format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\n{head}{body}"))?;
                    // The body has to be on its way before the reset, which would overtake it.
                    thread::sleep(Duration::from_millis(200));
                    if by_reset {
                        session.wire.reset()?;
                    } else {
                        session.wire.close()?;
                    }
                }
                Ok(())
            })?;
            let fetched = curl(&path.client, &[&path.url(origin.port(), "/")])?;
            ensure!(exits.contains(&fetched.exit), "case {number}: curl took it for complete: {fetched:?}");
            ensure!(fetched.body == b"only this", "case {number}: {fetched:?}");
        }
        Ok(())
    })
}

fn client_leaves(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let (report, reported) = mpsc::channel();
        let report = Mutex::new(report);
        let origin = path.origin(move |session| {
            let Some(head) = session.head()? else { return Ok(()) };
            let framing = Framing::of(&head, To::Other)?;
            let complete = framing.read(&mut session.wire, |_| Ok(())).is_ok();
            report.lock().unwrap_or_else(PoisonError::into_inner).send(complete)?;
            Ok(())
        })?;
        let host = path.host(origin.port());
        for rest in
            ["Content-Length: 1000\r\n\r\nonly this".to_owned(), format!("{CHUNKED}9\r\nonly this\r\n")]
        {
            for by_reset in [false, true] {
                let client = path.connect(&origin)?;
                client.send(format!("POST /upload HTTP/1.1\r\nHost: {host}\r\n{rest}"))?;
                thread::sleep(Duration::from_millis(100));
                if by_reset {
                    client.reset()?;
                }
                drop(client);
                match reported.recv_timeout(dial::TIMEOUT) {
                    Ok(false) => {}
                    Ok(true) => bail!("the origin took half a request for a whole one"),
                    Err(_) => bail!("the origin still waits for the client's body"),
                }
            }
        }
        origin.no_failures()
    })
}
