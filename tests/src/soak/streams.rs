//! Streams over HTTP in the soak test: conversations on a stream of HTTP/2, and WebSockets. Each part is checked when it
//! comes back, before the next one is sent.

use std::{io, net::SocketAddr, thread, time::Duration};

use super::{
    bodies::wrong,
    requests::{self, Exchanged, refused},
    websocket::{self, BINARY, CLOSE, MASKED},
};
use crate::{
    dial,
    http::{Head, Wire},
    http2,
    load::{Pattern, after_receiving},
    netns::Netns,
};

/// Messages on one WebSocket, at most.
const MOST: u64 = 100;

/// A conversation on one stream.
pub(super) fn over_http2(netns: &Netns, target: SocketAddr, id: u64) -> (Exchanged, io::Result<()>) {
    let mut done = Exchanged::default();
    let result = || -> io::Result<()> {
        let client = http2::Client::over(dial::from(netns, target)?).map_err(|e| requests::cause(&e))?;
        let mut request = requests::call(id);
        *request.uri_mut() = http::Uri::from_static("http://soak.test/soak.Orders/Talk");
        // Few enough parts that all of them, with their pauses, fit into the time that a response may take.
        let (parts, pause) = (1 + (id >> 8 & 127) as usize, Duration::from_millis(id >> 32 & 63));
        let part = request.body().len() / parts + 1;
        let response = client.chat(request, part, pause).map_err(|e| requests::cause(&e))?;
        done.bytes += 2 * requests::answered(id, id, &response)?;
        done.requests += 1;
        Ok(())
    }();
    (done, result)
}

/// A WebSocket that sends each message back.
pub(super) fn over_websocket(netns: &Netns, target: SocketAddr, id: u64) -> io::Result<u64> {
    let mut wire = Wire::new(dial::from(netns, target)?);
    wire.send(format!(
        "GET /socket HTTP/1.1\r\nHost: soak.test\r\nX-Id: {id}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))?;
    if !requests::begins(&mut wire)? {
        return Err(refused(io::ErrorKind::ConnectionReset, "closed without a response"));
    }
    let head = Head::read(&mut wire).map_err(|e| requests::broken(&wire, &e))?;
    let said = head.values("l5d-proxy-error").join(", ");
    match head.status() {
        101 => {}
        403 => return Err(refused(io::ErrorKind::ConnectionRefused, &format!("403 {said}"))),
        status @ 502..=504 => {
            return Err(refused(io::ErrorKind::ConnectionReset, &format!("{status} {said}")));
        }
        status => return Err(wrong(format!("the status {status}"))),
    }
    let mut received = 0;
    converse(&mut wire, id, &mut received).map_err(|e| after_receiving(received, e))?;
    Ok(2 * received)
}

fn converse(wire: &mut Wire, id: u64, received: &mut u64) -> io::Result<()> {
    let mut expected = Pattern::new(id);
    let mut message = vec![0; 1 + (id % 3_000) as usize];
    for _ in 0..1 + id % MOST {
        expected.fill(&mut message);
        let mask = (id as u32).to_be_bytes();
        let masked: Vec<u8> =
            message.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        wire.send([&websocket::head(BINARY, message.len(), MASKED)[..], &mask, &masked].concat())?;
        let (kind, back) = websocket::frame(wire)?;
        if kind != BINARY || back != message {
            return Err(wrong(format!("{} other bytes came back, in a frame {kind:#x}", back.len())));
        }
        *received += back.len() as u64;
        thread::sleep(Duration::from_millis(id >> 8 & 31));
    }
    wire.send([&websocket::head(CLOSE, 0, MASKED)[..], &[0; 4]].concat())?;
    match websocket::frame(wire)? {
        (CLOSE, rest) if rest.is_empty() => wire.close(),
        (kind, _) => Err(wrong(format!("a frame {kind:#x} instead of the last one"))),
    }
}
