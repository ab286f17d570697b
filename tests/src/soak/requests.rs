//! HTTP in the soak test: each response is checked against its request, and no request may be processed twice.
//!
//! A request has a number of its own. Its body and that of its response are patterns with this seed, and the response
//! repeats the number. A client repeats only what HTTP lets it repeat: a GET whose connection was closed before it.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    bodies::{body_of, check, wrong},
    model::Model,
    testbed::{HTTP, TestPod},
    websocket,
};
use crate::{
    backends::Behaviour,
    dial,
    http::{Message, To, Wire},
    http2::{self, Answer, Received},
    load::after_receiving,
    netns::Netns,
};

/// Requests on one connection, at most.
const MOST: u64 = 8;
/// How far the numbers of calls that are cancelled are from the others.
const UNWANTED: u64 = 1 << 40;

/// What the client of one connection did.
#[derive(Default)]
pub(super) struct Exchanged {
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// GETs that were sent again on another connection.
    pub(super) repeated: u64,
    /// Calls whose client did not wait for their end.
    pub(super) cancelled: u64,
}

/// The server of HTTP/1, on the first port of [`HTTP`].
pub(super) fn http1_server(model: &Arc<Model>, test_pod: TestPod) -> (u16, Behaviour) {
    let model = model.clone();
    let behaviour: Behaviour = Arc::new(move |accepted| {
        let mut wire = Wire::new(accepted.stream.try_clone()?);
        // The client learns of an error, and the model of what the client learns.
        while let Ok(true) = wire.begins() {
            let Ok(request) = Message::request(&mut wire) else { break };
            let id = request.head.values("x-id").first().and_then(|id| id.parse().ok());
            let Some(id) = id else { break };
            model.processed(test_pod, id, request.head.method() == "GET", &request.body);
            if !request.head.values("upgrade").is_empty() {
                let _ = websocket::serve(&mut wire);
                break;
            }
            let body = body_of(!id);
            let head = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\nContent-Length: {}\r\n\r\n", body.len());
            if wire.send([head.as_bytes(), &body].concat()).is_err() {
                break;
            }
        }
        Ok(())
    });
    (HTTP[0], behaviour)
}

/// The server of gRPC-like calls, on the second port of [`HTTP`].
pub(super) fn http2_server(
    model: &Arc<Model>,
    test_pod: TestPod,
    netns: &Netns,
) -> anyhow::Result<http2::Server> {
    let model = model.clone();
    http2::Server::start(netns, HTTP[1], move |request: &Received| {
        let Ok(id) = request.header("x-id").parse() else { return Answer::grpc(3) };
        model.processed(test_pod, id, false, &request.body);
        let mut answer = Answer::grpc(0);
        answer.headers.insert("x-id", id.into());
        answer.body = body_of(!id);
        answer
    })
}

/// Some requests on one connection, with pauses.
pub(super) fn over_http1(netns: &Netns, target: SocketAddr, id: u64) -> (Exchanged, io::Result<()>) {
    let mut done = Exchanged::default();
    let result = || -> io::Result<()> {
        let mut wire = Wire::new(dial::from(netns, target)?);
        for number in 0..count(id) {
            let id = id.wrapping_add(number);
            // An idle connection may be closed at any time, so only the first request is one that must not be repeated.
            if number == 0 {
                let body = body_of(id);
                let length = body.len();
                let head = format!(
                    "POST /order HTTP/1.1\r\nHost: soak.test\r\nX-Id: {id}\r\nContent-Length: {length}\r\n\r\n"
                );
                // A proxy may answer before it has read the body.
                let _ = wire.send([head.as_bytes(), &body].concat());
                done.bytes += length as u64;
            } else {
                thread::sleep(pause(id));
                let head = format!("GET /article HTTP/1.1\r\nHost: soak.test\r\nX-Id: {id}\r\n\r\n");
                let begun = wire.send(&head).is_ok() && begins(&mut wire)?;
                if !begun {
                    done.repeated += 1;
                    wire = Wire::new(dial::from(netns, target)?);
                    let _ = wire.send(&head);
                }
            }
            done.bytes += response(&mut wire, id)?;
            done.requests += 1;
        }
        Ok(())
    }();
    (done, result)
}

/// Whether a response begins; false if the connection ends before it.
pub(super) fn begins(wire: &mut Wire) -> io::Result<bool> {
    let waiting = Instant::now();
    let begun = wire.begins().unwrap_or(false);
    if !begun && waiting.elapsed() >= dial::TIMEOUT {
        return Err(refused(io::ErrorKind::TimedOut, "no response"));
    }
    Ok(begun)
}

/// Reads the response to request `id`; returns the length of its body. The next request needs another connection after
/// Connection: close, which [`over_http1`] finds out by itself.
fn response(wire: &mut Wire, id: u64) -> io::Result<u64> {
    if !begins(wire)? {
        return Err(refused(io::ErrorKind::ConnectionReset, "closed without a response"));
    }
    let response = Message::final_response(wire, To::Other).map_err(|e| broken(wire, &e))?;
    let said = response.head.values("l5d-proxy-error").join(", ");
    match response.head.status() {
        200 => {}
        403 => return Err(refused(io::ErrorKind::ConnectionRefused, &format!("403 {said}"))),
        status @ 502..=504 => {
            return Err(refused(io::ErrorKind::ConnectionReset, &format!("{status} {said}")));
        }
        status => return Err(wrong(format!("the status {status}"))),
    }
    if response.head.values("x-id") != [id.to_string()] {
        return Err(wrong(format!("the response of another request: {:?}", response.head)));
    }
    check(!id, &response.body)
}

/// Some gRPC-like calls on one connection, several at once.
pub(super) fn over_http2(netns: &Netns, target: SocketAddr, id: u64) -> (Exchanged, io::Result<()>) {
    let mut done = Exchanged::default();
    let result = || -> io::Result<()> {
        let connect = || http2::Client::over(dial::from(netns, target)?).map_err(|e| cause(&e));
        let mut client = connect()?;
        let mut number = 0;
        while number < count(id) {
            if !client.is_open() {
                client = connect()?;
            }
            let ids: Vec<_> = (0..3).map(|more| id.wrapping_add(number + more)).collect();
            let pending: Vec<_> = ids.iter().map(|id| client.start(call(*id))).collect();
            // Another call of this connection ends before its response, or before it has been sent.
            let unwanted = client.start(call(id.wrapping_add(UNWANTED + number)));
            thread::sleep(Duration::from_micros(id >> 12 & 4_095));
            drop(unwanted);
            done.cancelled += 1;
            for (id, pending) in ids.iter().zip(pending) {
                let response = pending.wait().map_err(|e| cause(&e))?;
                done.bytes += answered(*id, !id, &response)?;
                done.requests += 1;
            }
            number += 3;
            thread::sleep(pause(id));
        }
        Ok(())
    }();
    (done, result)
}

pub(super) fn call(id: u64) -> http::Request<Vec<u8>> {
    let mut call = http2::grpc("soak.test", "/soak.Orders/Place");
    call.headers_mut().insert("x-id", id.into());
    *call.body_mut() = body_of(id);
    call
}

/// Checks the answer to call `id`, whose body is that of `seed`.
pub(super) fn answered(id: u64, seed: u64, response: &http2::Response) -> io::Result<u64> {
    let said = response.header("l5d-proxy-error");
    match (response.status, response.grpc_status()) {
        (200, Some(0)) => {}
        (200, Some(7)) => return Err(refused(io::ErrorKind::ConnectionRefused, &format!("denied: {said}"))),
        (200, Some(code @ (4 | 14))) => {
            return Err(refused(io::ErrorKind::ConnectionReset, &format!("grpc-status {code} {said}")));
        }
        (status, code) => return Err(wrong(format!("the status {status}, of gRPC {code:?}"))),
    }
    if response.header("x-id") != id.to_string() {
        return Err(wrong(format!("the response of another call: {:?}", response.headers)));
    }
    check(seed, &response.body)
}

fn count(id: u64) -> u64 {
    1 + id % MOST
}

fn pause(id: u64) -> Duration {
    // Some connections last long enough to see events.
    Duration::from_millis(if id >> 16 & 15 == 0 { 300 } else { id >> 8 & 7 })
}

/// The proxy has answered: nothing of the application's response was received.
pub(super) fn refused(kind: io::ErrorKind, what: &str) -> io::Error {
    after_receiving(0, io::Error::new(kind, what.to_owned()))
}

/// A response has begun and is not whole.
pub(super) fn broken(wire: &Wire, error: &anyhow::Error) -> io::Error {
    let kind = match error.root_cause().downcast_ref::<io::Error>() {
        Some(io) => io.kind(),
        None if wire.ended() => io::ErrorKind::UnexpectedEof,
        None => io::ErrorKind::InvalidData,
    };
    after_receiving(1, io::Error::new(kind, format!("{error:#}")))
}

/// What h2 reports.
pub(super) fn cause(error: &anyhow::Error) -> io::Error {
    let text = format!("{error:#}");
    let h2 = error.chain().find_map(|cause| cause.downcast_ref::<h2::Error>());
    let kind = match (h2, error.root_cause().downcast_ref::<io::Error>()) {
        (Some(h2), _) => h2.get_io().map_or(io::ErrorKind::ConnectionReset, io::Error::kind),
        (None, Some(io)) => io.kind(),
        (None, None) if text.contains("no response within") => io::ErrorKind::TimedOut,
        (None, None) => io::ErrorKind::ConnectionReset,
    };
    // The end of the connection is never an orderly end of a response.
    let kind = if kind == io::ErrorKind::UnexpectedEof { io::ErrorKind::ConnectionReset } else { kind };
    after_receiving(0, io::Error::new(kind, text))
}
