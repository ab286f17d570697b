//! Connections that stop being HTTP: CONNECT and Upgrade.

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Head, Message, Session, To},
    load::Pattern,
    mesh::Mesh,
    suite::Area,
};

use super::paths::{DATE, cluster, each_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_tunnels", cluster)
        .scenario(
            "upgrade",
            "After 101, bytes of another protocol pass both ways, and each side closes its half on its own.",
            upgrade,
        )
        .scenario(
            "upgrade_declined",
            "An origin that ignores Upgrade answers, and the connection stays HTTP.",
            upgrade_declined,
        )
        .scenario("connect", "After a successful CONNECT, bytes pass both ways.", connect)
        .scenario(
            "connect_refused",
            "A refused CONNECT is an ordinary response, and the connection stays HTTP.",
            connect_refused,
        )
}

/// Greets, sends everything back, and after the client's end says goodbye.
fn converse(session: &mut Session, head: &str) -> Result<()> {
    // The greeting comes in the same segment as the head.
    session.wire.send(format!("{head}hi"))?;
    loop {
        let part = session.wire.some()?;
        if part.is_empty() {
            session.wire.send("bye")?;
            session.wire.half_close()?;
            return Ok(());
        }
        session.wire.send(part)?;
    }
}

/// The client's side of [`converse`]: many bytes both ways at once, then the ends.
fn check_conversation(client: &mut weft_tests::http::Wire) -> Result<()> {
    ensure!(&client.array()? == b"hi", "the greeting is missing");
    client.send("\r\n\0ping")?;
    ensure!(&client.array()? == b"\r\n\0ping", "the echo differs");
    const LENGTH: usize = 2_000_000;
    let mut sent = vec![0; LENGTH];
    Pattern::new(1).fill(&mut sent);
    let sender = client.stream().try_clone()?;
    std::thread::scope(|scope| -> Result<()> {
        let writing = scope.spawn(|| {
            use std::io::Write;
            (&sender).write_all(&sent)?;
            sender.shutdown(std::net::Shutdown::Write)
        });
        let mut expected = Pattern::new(1);
        client.exactly(LENGTH as u64, |part| Ok(expected.check(part)?))?;
        writing.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))?;
        Ok(())
    })?;
    let last = client.all()?;
    ensure!(last == b"bye", "after its own end, the client received {:?}", String::from_utf8_lossy(&last));
    Ok(())
}

fn upgrade(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            let Some(head) = session.head()? else { return Ok(()) };
            ensure!(head.values("upgrade") == ["weft-echo/1"], "the origin received {head:?}");
            let connection = head.values("connection").join(",").to_lowercase();
            ensure!(connection.contains("upgrade"), "Connection is {connection:?}");
            ensure!(head.values("sec-websocket-key") == ["dGhlIHNhbXBsZSBub25jZQ=="], "{head:?}");
            converse(
                session,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weft-echo/1\r\nX-Kept: 1\r\n\r\n",
            )
        })?;
        let mut client = path.connect(&origin)?;
        client.send(format!(
            "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: weft-echo/1\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            path.host(origin.port())
        ))?;
        let head = Head::read(&mut client)?;
        ensure!(head.status() == 101 && head.values("upgrade") == ["weft-echo/1"], "the client got {head:?}");
        ensure!(head.values("x-kept") == ["1"], "the client got {head:?}");
        check_conversation(&mut client)?;
        origin.no_failures()
    })
}

fn upgrade_declined(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| ok(request.head.target()))?;
        let mut client = path.connect(&origin)?;
        let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
        for (target, fields) in [("/one", upgrade), ("/two", ""), ("/three", upgrade)] {
            client.send(format!(
                "GET {target} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
                path.host(origin.port())
            ))?;
            let response = Message::response(&mut client, To::Other)?;
            ensure!(response.head.status() == 200 && response.text() == target, "{target}: {response:?}");
        }
        origin.no_failures()
    })
}

fn connect(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.origin(|session| {
            let Some(head) = session.head()? else { return Ok(()) };
            ensure!(head.line == "CONNECT elsewhere.example:443 HTTP/1.1", "the origin received {head:?}");
            converse(session, "HTTP/1.1 200 Connection Established\r\n\r\n")
        })?;
        let mut client = path.connect(&origin)?;
        client.send("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n")?;
        let head = Head::read(&mut client)?;
        ensure!(head.status() == 200, "the client received {head:?}");
        check_conversation(&mut client)?;
        origin.no_failures()
    })
}

fn connect_refused(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| match request.head.method() {
            "CONNECT" => format!(
                "HTTP/1.1 407 Proxy Authentication Required\r\nDate: {DATE}\r\nProxy-Authenticate: Basic\r\n\
                 Content-Length: 6\r\n\r\nsecret"
            )
            .into(),
            _ => ok("open"),
        })?;
        let mut client = path.connect(&origin)?;
        client.send("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n")?;
        let refusal = Message::response(&mut client, To::Other)?;
        ensure!(
            refusal.head.status() == 407 && refusal.text() == "secret",
            "the client received {refusal:?}"
        );
        client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
        ensure!(Message::response(&mut client, To::Other)?.text() == "open", "the next request failed");
        origin.no_failures()
    })
}
