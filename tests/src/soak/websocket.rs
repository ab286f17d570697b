//! The frames of WebSocket (RFC 6455, section 5.2), as far as the soak test uses them, and a server that sends each back.

use std::io;

use super::bodies::wrong;
use crate::http::Wire;

/// Kinds of frames that are the last of their message.
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
/// The bit of the length that says that a mask follows, as in each frame of a client.
pub(super) const MASKED: u8 = 0x80;

/// The server's side, after the request.
pub(super) fn serve(wire: &mut Wire) -> io::Result<()> {
    wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    loop {
        let (kind, payload) = frame(wire)?;
        wire.send([&head(kind, payload.len(), 0)[..], &payload].concat())?;
        if kind == CLOSE {
            return wire.close();
        }
    }
}

/// The head of a frame.
pub(super) fn head(kind: u8, length: usize, masked: u8) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(length) if length < 126 => vec![kind, length | masked],
        _ => {
            let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            vec![kind, 126 | masked, high, low]
        }
    }
}

/// The next frame, without its mask.
pub(super) fn frame(wire: &mut Wire) -> io::Result<(u8, Vec<u8>)> {
    let read = |wire: &mut Wire| -> anyhow::Result<(u8, Vec<u8>)> {
        let [kind, length] = wire.array()?;
        let masked = length & 0x80 != 0;
        let length = match length & 0x7f {
            126 => u64::from(u16::from_be_bytes(wire.array()?)),
            short => u64::from(short),
        };
        let mask: [u8; 4] = if masked { wire.array()? } else { [0; 4] };
        let mut payload = Vec::new();
        wire.exactly(length, |part| {
            payload.extend_from_slice(part);
            Ok(())
        })?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Ok((kind, payload))
    };
    read(wire).map_err(|e| match e.root_cause().downcast_ref::<io::Error>() {
        Some(io) => io::Error::new(io.kind(), format!("{e:#}")),
        None if wire.ended() => io::Error::new(io::ErrorKind::UnexpectedEof, format!("{e:#}")),
        None => wrong(format!("{e:#}")),
    })
}
