//! Malformed messages of HTTP/2: neither side may receive them.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use weft_tests::{
    attack::http2::{Frame, Frames, flag, kind, literal, ok},
    backends::{Accepted, Behaviour},
    http::malformed::http2::{Arrived, HTTP2_GOOD, HTTP2_REQUESTS, HTTP2_RESPONSES, MalformedHttp2},
    http2::{self, Answer},
    mesh::Mesh,
    suite::Area,
};

use super::paths::{Path, cluster, each_meshed_path};

pub(crate) fn area() -> Area {
    Area::new("http2_smuggling", cluster)
        .scenario(
            "requests",
            "Of each malformed HTTP/2 request of the table, the origin receives nothing, or something unambiguous; well-formed ones arrive.",
            requests,
        )
        .within(Duration::from_secs(180))
        .scenario(
            "responses",
            "Of each malformed HTTP/2 response of the table, the client receives nothing, or something unambiguous, \
             and the next request is answered.",
            responses,
        )
        .within(Duration::from_secs(180))
}

/// How long a client waits for more.
const QUIET: Duration = Duration::from_secs(2);

type Streams = BTreeMap<u32, Arrived>;

/// What arrived on each connection.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<std::net::SocketAddr, Streams>>>);

impl Seen {
    fn all(&self) -> Vec<Arrived> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().flat_map(|streams| streams.values().cloned()).collect()
    }
}

/// Records each frame, and answers each complete request with `answer`; the first one of a connection with 200.
fn recording(seen: &Seen, answer: impl Fn(u32) -> Frames + Send + Sync + 'static) -> Behaviour {
    let seen = seen.clone();
    Arc::new(move |accepted: &Accepted| {
        let mut stream = &accepted.stream;
        stream.read_exact(&mut [0; 24])?;
        stream.write_all(Frames::default().frame(kind::SETTINGS, 0, 0, &[]).bytes())?;
        while let Some(frame) = Frame::read(stream)? {
            {
                let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arrived::note(seen.entry(accepted.peer).or_default(), &frame);
            }
            let reply = match frame.kind {
                kind::SETTINGS | kind::PING if frame.flags & flag::ACK == 0 => {
                    let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                    Frames::default().frame(frame.kind, flag::ACK, 0, payload)
                }
                kind::HEADERS | kind::DATA if frame.flags & flag::END_STREAM != 0 => answer(frame.stream),
                _ => continue,
            };
            match stream.write_all(reply.bytes()) {
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Ok(());
                }
                written => written?,
            }
        }
        Ok(())
    })
}

/// A good request on a stream.
fn good(stream: u32, path: &str) -> Frames {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")];
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value.as_bytes())).collect();
    Frames::default().block(flag::END_STREAM, stream, &block)
}

/// A client whose first request was answered.
struct Client {
    stream: std::net::TcpStream,
    streams: Streams,
}

impl Client {
    fn connect(path: &Path<'_>, port: u16) -> Result<Self> {
        let stream = path.connect_directly(port)?.stream().try_clone()?;
        stream.set_read_timeout(Some(QUIET))?;
        (&stream).write_all(Frames::client(65_535).bytes())?;
        Ok(Self { stream, streams: Streams::new() })
    }

    fn send(&mut self, frames: &Frames) -> Result<()> {
        Ok(self.stream.write_all(frames.bytes())?)
    }

    /// Reads until the stream or the connection ends, or nothing more comes. Returns what arrived of the stream.
    fn receive(&mut self, stream: u32) -> Result<Arrived> {
        loop {
            let frame = match Frame::read(&self.stream) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            };
            Arrived::note(&mut self.streams, &frame);
            let ended = frame.stream == stream
                && (frame.kind == kind::RST_STREAM
                    || (matches!(frame.kind, kind::HEADERS | kind::DATA)
                        && frame.flags & flag::END_STREAM != 0));
            if ended || frame.kind == kind::GOAWAY {
                break;
            }
        }
        Ok(self.streams.get(&stream).cloned().unwrap_or_default())
    }
}

fn requests(mesh: &Mesh) -> Result<()> {
    let rows = || HTTP2_REQUESTS.iter().chain(HTTP2_GOOD);
    each_row(mesh, rows, |path, row| {
        let seen = Seen::default();
        let origin = path.serve(recording(&seen, ok))?;
        let mut client = Client::connect(path, origin.port())?;
        client.send(&good(1, "/good"))?;
        ensure!(client.receive(1)?.is_ok(), "the good request was not answered");
        let before = seen.all().len();
        client.send(&row.frames(3))?;
        let answer = client.receive(3)?;
        let all = seen.all();
        let arrived: Vec<_> = all.iter().skip(before).collect();
        Arrived::judge(row.may, &arrived).map_err(|e| anyhow!("{e}"))?;
        let complete = arrived.iter().filter(|arrived| arrived.complete).count();
        let is_good = HTTP2_GOOD.iter().any(|good| good.name == row.name);
        ensure!(!is_good || complete == 1, "a good request did not arrive");
        ensure!(answer.is_ok() == (complete == 1), "{complete} arrived, and the client received {answer:?}");

        // What arrives, if anything does, has nothing that could be understood in two ways.
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let noted = wrong.clone();
        let port = path.unused_port();
        let _server = http2::Server::start(path.server.netns(), port, move |request| {
            if let Err(e) = is_unambiguous(request) {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{e:#}"));
            }
            Answer::http(200, "x")
        })?;
        let mut client = Client::connect(path, port)?;
        client.send(&row.frames(1))?;
        client.receive(1)?;
        let wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(())
    })
}

fn is_unambiguous(request: &http2::Received) -> Result<()> {
    let headers = &request.head.headers;
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        ensure!(!headers.contains_key(name), "{name}: {:?}", headers.get(name));
    }
    ensure!(["", "trailers"].contains(&request.header("te")), "te: {}", request.header("te"));
    let lengths: Vec<_> = headers.get_all("content-length").iter().collect();
    ensure!(lengths.len() <= 1, "content-length: {lengths:?}");
    if let [length] = lengths[..] {
        ensure!(length.as_bytes() == request.body.len().to_string().as_bytes(), "{length:?}");
    }
    let target = request.head.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
    ensure!(target.starts_with('/'), "the target is {target:?}");
    let authority = request.head.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    ensure!(!authority.contains('@'), "the authority is {authority:?}");
    ensure!(
        headers.get_all("host").iter().all(|host| host.as_bytes() == authority.as_bytes()),
        "{headers:?}"
    );
    Ok(())
}

fn responses(mesh: &Mesh) -> Result<()> {
    each_row(
        mesh,
        || HTTP2_RESPONSES.iter(),
        |path, row| {
            let first = Mutex::new(true);
            let origin = path.serve(recording(&Seen::default(), move |stream| {
                let is_first = std::mem::take(&mut *first.lock().unwrap_or_else(PoisonError::into_inner));
                if is_first { row.frames(stream) } else { ok(stream) }
            }))?;
            let mut client = Client::connect(path, origin.port())?;
            client.send(&good(1, "/malformed"))?;
            let arrived = client.receive(1)?;
            // weft's own answer has another status.
            let arrived = if arrived.is_ok() { vec![&arrived] } else { Vec::new() };
            Arrived::judge(row.may, &arrived).map_err(|e| anyhow!("{e}")).context("the client's response")?;
            for (stream, target) in [(3, "/next"), (5, "/last")] {
                client.send(&good(stream, target))?;
                let next = client.receive(stream)?;
                ensure!(next.is_ok() && next.complete, "the request of {target} received {next:?}");
            }
            Ok(())
        },
    )
}

/// Runs `check` for all rows at once, for both meshed servers; fails with the list of rows that failed.
fn each_row<I: Iterator<Item = &'static MalformedHttp2>>(
    mesh: &Mesh,
    rows: impl Fn() -> I,
    check: impl Fn(&Path<'_>, &'static MalformedHttp2) -> Result<()> + Sync,
) -> Result<()> {
    each_meshed_path(mesh, |path| {
        let failures: Vec<_> = thread::scope(|scope| {
            let check = &check;
            let running: Vec<_> =
                rows().map(|row| (row.name, scope.spawn(move || check(path, row)))).collect();
            let ended = running.into_iter().map(|(name, row)| {
                let ended = row.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
                ended.err().map(|e| format!("{name}: {e:#}"))
            });
            ended.flatten().collect()
        });
        if failures.is_empty() {
            return Ok(());
        }
        bail!("{} of {} rows failed:\n{}", failures.len(), rows().count(), failures.join("\n"))
    })
}
