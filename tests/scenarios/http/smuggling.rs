//! Malformed messages: neither side may receive what could be read in two ways.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use weft_tests::{
    backends::{Accepted, Behaviour},
    http::{
        Message, To, Wire,
        malformed::{Carried, Malformed, May, REQUESTS, RESPONSES},
    },
    mesh::Mesh,
    suite::Area,
};

use super::paths::{Path, cluster, each_meshed_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_smuggling", cluster)
        .scenario(
            "requests_after_a_good_one",
            "Of each malformed request of the table, which follows a good one, the origin receives nothing or \
             something unambiguous, and the client no answer to anything else.",
            requests_after_a_good_one,
        )
        .within(Duration::from_secs(180))
        .scenario(
            "first_requests",
            "The same for the first request of a connection; what does not begin as HTTP may pass unchanged, alone.",
            first_requests,
        )
        .within(Duration::from_secs(180))
        .scenario(
            "responses",
            "Of each malformed response of the table, the client receives nothing, or something unambiguous, and its \
             surplus answers no later request.",
            responses,
        )
        .within(Duration::from_secs(180))
}

/// How long the origin waits for more before it answers, and the client for another answer.
const QUIET: Duration = Duration::from_millis(500);
const GOOD: &str = "GET /good HTTP/1.1\r\nHost: x\r\n\r\n";

fn requests_after_a_good_one(mesh: &Mesh) -> Result<()> {
    each_row(mesh, REQUESTS.iter().chain([&CONTROL]), |path, row| {
        let received = Received::default();
        let origin = path.serve(recording(&received))?;
        let mut client = path.connect_directly(origin.port())?;
        client.send(GOOD)?;
        let answer = Message::response(&mut client, To::Other)?;
        ensure!(answer.text() == "good", "the good request received {answer:?}");
        check_request(row, client, &received)
    })
}

fn first_requests(mesh: &Mesh) -> Result<()> {
    each_row(mesh, REQUESTS.iter().chain([&CONTROL]), |path, row| {
        let received = Received::default();
        let origin = path.serve(recording(&received))?;
        let client = path.connect_directly(origin.port())?;
        let checked = check_request(row, client, &received);
        // weft does not judge other protocols. It has to carry them on connections of their own.
        let arrived = received.all();
        let unchanged = arrived.len() == 1 && arrived[0] == row.bytes;
        if unchanged && !begins_as_http(row.bytes) { Ok(()) } else { checked }
    })
}

/// A request that is well-formed: it shows that the others could have arrived.
const CONTROL: Malformed = Malformed {
    name: "control",
    bytes: b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
    may: May::Become("body"),
};

/// Whether the first line is a request line.
fn begins_as_http(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Carried::requests(&[line, b"\r\nHost: x\r\n\r\n"].concat()).is_ok()
}

/// Sends the row and judges what both sides received.
fn check_request(row: &Malformed, client: Wire, received: &Received) -> Result<()> {
    client.send(row.bytes)?;
    client.stream().set_read_timeout(Some(6 * QUIET))?;
    let (answers, closed) = until_end(client.stream())?;
    let arrived = received.all();
    let mut carried = Carried::default();
    for bytes in &arrived {
        let Carried { complete, incomplete } = Carried::requests(bytes).context("the origin received")?;
        carried.complete.extend(complete.into_iter().filter(|request| request.head.target() != "/good"));
        carried.incomplete |= incomplete;
    }
    row.may.judge(&carried).context("the origin's requests")?;
    ensure!(row.name != CONTROL.name || carried.complete.len() == 1, "a good request did not arrive");
    let answers = Carried::responses(&answers).context("the client received")?.complete;
    let good = answers.iter().filter(|answer| answer.head.status() < 400).count();
    ensure!(good == carried.complete.len(), "the client received {answers:?}");
    ensure!(answers.len() <= 1, "the client received {} answers to one request", answers.len());
    // What follows a malformed request has no known beginning.
    ensure!(closed || row.may != May::Vanish, "the connection stays open, after {answers:?}");
    Ok(())
}

/// The bytes of each connection.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Recorded>>>);

type Recorded = Arc<Mutex<Vec<u8>>>;

impl Received {
    /// The connections with bytes.
    fn all(&self) -> Vec<Vec<u8>> {
        let connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes =
            connections.iter().map(|bytes| bytes.lock().unwrap_or_else(PoisonError::into_inner).clone());
        bytes.filter(|bytes| !bytes.is_empty()).collect()
    }
}

/// Records everything. It answers a good request at once; other bytes when nothing more comes, and then closes.
fn recording(received: &Received) -> Behaviour {
    let received = received.clone();
    Arc::new(move |accepted: &Accepted| {
        let all = Recorded::default();
        received.0.lock().unwrap_or_else(PoisonError::into_inner).push(all.clone());
        let mut stream = &accepted.stream;
        stream.set_read_timeout(Some(QUIET))?;
        let mut pending = Vec::new();
        let mut block = [0; 4096];
        loop {
            match stream.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    all.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&block[..count]);
                    pending.extend_from_slice(&block[..count]);
                    if is_good(&pending) {
                        pending.clear();
                        stream.write_all(&ok("good"))?;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if !pending.is_empty() {
                        pending.clear();
                        stream.write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nonce",
                        )?;
                        stream.shutdown(std::net::Shutdown::Write)?;
                    }
                }
                // The proxy may reset a connection on which a request broke.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    })
}

fn is_good(bytes: &[u8]) -> bool {
    let carried = Carried::requests(bytes);
    carried.is_ok_and(|carried| {
        !carried.incomplete && carried.complete.iter().all(|request| request.head.target() == "/good")
    })
}

fn responses(mesh: &Mesh) -> Result<()> {
    each_row(mesh, RESPONSES.iter(), |path, row| {
        let bytes = row.bytes;
        let origin = path.origin(move |session| {
            while let Some(request) = session.request()? {
                if request.head.target() != "/malformed" {
                    session.wire.send(ok(request.head.target()))?;
                    continue;
                }
                session.wire.send(bytes)?;
                if !session.wire.begins()? {
                    return Ok(());
                }
            }
            Ok(())
        })?;
        let ask = |target: &str| -> Result<Wire> {
            let client = path.connect_directly(origin.port())?;
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
            Ok(client)
        };
        let client = ask("/malformed")?;
        client.stream().set_read_timeout(Some(QUIET))?;
        let (received, _) = until_end(client.stream())?;
        let mut carried = Carried::responses(&received).context("the client received")?;
        // weft's own answer.
        carried.complete.retain(|response| response.head.status() != 502);
        row.may.judge(&carried)?;
        for target in ["/next", "/last"] {
            let next = Message::response(&mut ask(target)?, To::Other)?;
            ensure!(next.text() == target, "the request of {target} received {next:?}");
        }
        Ok(())
    })
}

/// Runs `check` for all rows at once, for both meshed servers; fails with the list of rows that failed.
fn each_row<'a>(
    mesh: &Mesh,
    rows: impl Iterator<Item = &'a Malformed> + Clone,
    check: impl Fn(&Path<'_>, &Malformed) -> Result<()> + Sync,
) -> Result<()> {
    each_meshed_path(mesh, |path| {
        let failures: Vec<_> = thread::scope(|scope| {
            let check = &check;
            let started = rows.clone().map(|row| (row.name, scope.spawn(move || check(path, row))));
            let running: Vec<_> = started.collect();
            let ended = running.into_iter().map(|(name, row)| {
                let ended = row.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
                ended.err().map(|e| format!("{name}: {e:#}"))
            });
            ended.flatten().collect()
        });
        if failures.is_empty() {
            return Ok(());
        }
        bail!("{} of {} rows failed:\n{}", failures.len(), rows.clone().count(), failures.join("\n"))
    })
}

/// What a client receives until its connection ends, or nothing more comes.
fn until_end(mut stream: &TcpStream) -> Result<(Vec<u8>, bool)> {
    let mut received = Vec::new();
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block) {
            Ok(0) => return Ok((received, true)),
            Ok(count) => received.extend_from_slice(&block[..count]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok((received, true)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok((received, false)),
            Err(e) => return Err(e.into()),
        }
    }
}
