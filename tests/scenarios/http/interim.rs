//! Interim responses: 100 Continue is the origin's decision, and others do no harm.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Framing, Head, Message, To, curl},
    mesh::Mesh,
    suite::Area,
};

use super::paths::{DATE, Path, cluster, each_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_interim", cluster)
        .scenario(
            "expectation_refused",
            "The origin answers 417 to Expect: 100-continue, and the client never sees 100.",
            expectation_refused,
        )
        .scenario(
            "expectation_delayed",
            "The origin waits for 2 s before it sends 100, and the client does not see 100 earlier.",
            expectation_delayed,
        )
        .scenario(
            "expectation_with_upgrade",
            "A client that offers an upgrade and expects 100 sees exactly one 100, and then the response.",
            expectation_with_upgrade,
        )
        .scenario(
            "expectation_ignored",
            "curl sends its body after a second to an origin that does not know 100.",
            expectation_ignored,
        )
        .scenario(
            "early_hints",
            "A response after 103 and 102 arrives, and so does the next one on the connection.",
            early_hints,
        )
}

fn upload(path: &Path<'_>, port: u16, target: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        path.host(port)
    )
}

fn expectation_refused(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            if session.head()?.is_some() {
                session.wire.send(format!(
                    "HTTP/1.1 417 Expectation Failed\r\nDate: {DATE}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
                ))?;
                let more = session.wire.begins()?;
                ensure!(!more, "the client sent a body although it was refused");
            }
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        client.send(upload(path, origin.port(), "/refused"))?;
        let first = Message::response(&mut client, To::Other)?;
        ensure!(first.head.status() == 417 && first.text() == "no", "the first response is {first:?}");
        client.close()?;
        origin.no_failures()
    })
}

fn expectation_delayed(mesh: &Mesh) -> Result<()> {
    const DELAY: Duration = Duration::from_secs(2);
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            while let Some(head) = session.head()? {
                thread::sleep(DELAY);
                session.wire.send("HTTP/1.1 100 Continue\r\n\r\n")?;
                let mut body = Vec::new();
                Framing::of(&head, To::Other)?.read(&mut session.wire, |part| {
                    body.extend_from_slice(part);
                    Ok(())
                })?;
                session.wire.send(ok(body))?;
            }
            Ok(())
        })?;
        let mut client = path.connect(&origin)?;
        let begun = Instant::now();
        client.send(upload(path, origin.port(), "/delayed"))?;
        let first = Head::read(&mut client)?;
        let waited = begun.elapsed();
        ensure!(first.status() == 100, "the first response is {first:?}");
        ensure!(waited >= DELAY, "100 arrived after {waited:?}, before the origin sent it");
        client.send("hello")?;
        let last = Message::response(&mut client, To::Other)?;
        ensure!(last.head.status() == 200 && last.text() == "hello", "the last response is {last:?}");
        origin.no_failures()
    })
}

fn expectation_with_upgrade(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            while let Some(head) = session.head()? {
                // The JDK's server sends a length too.
                if !head.values("expect").is_empty() {
                    thread::sleep(Duration::from_millis(500));
                    session.wire.send("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n")?;
                }
                let mut body = Vec::new();
                Framing::of(&head, To::Other)?.read(&mut session.wire, |part| {
                    body.extend_from_slice(part);
                    Ok(())
                })?;
                session.wire.send(ok(body))?;
            }
            Ok(())
        })?;
        // As Java's HttpClient sends it.
        let head = format!(
            "POST /both HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: {}\r\n\
             HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nExpect: 100-Continue\r\n\r\n",
            path.host(origin.port())
        );
        let mut client = path.connect(&origin)?;
        for _ in 0..2 {
            client.send(&head)?;
            let first = Head::read(&mut client)?;
            ensure!(first.status() == 100, "the first response is {first:?}");
            client.send("hello")?;
            let last = Message::response(&mut client, To::Other)?;
            ensure!(last.head.status() == 200 && last.text() == "hello", "the last response is {last:?}");
        }
        origin.no_failures()
    })
}

fn expectation_ignored(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| ok(&request.body))?;
        let url = path.url(origin.port(), "/ignored");
        let arguments =
            ["--expect100-timeout", "1", "--header", "Expect: 100-continue", "--data", "hello", &url];
        let echoed = curl(&path.client, &arguments)?.text()?;
        ensure!(echoed == "hello", "curl received {echoed:?}");
        origin.no_failures()
    })
}

fn early_hints(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
                           HTTP/1.1 102 Processing\r\n\r\n";
            [interim.as_bytes(), &ok(request.head.target())].concat()
        })?;
        let mut client = path.connect(&origin)?;
        for target in ["/first", "/second"] {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
            let response = Message::final_response(&mut client, To::Other)?;
            ensure!(response.head.status() == 200 && response.text() == target, "{target}: {response:?}");
        }
        origin.no_failures()
    })
}
