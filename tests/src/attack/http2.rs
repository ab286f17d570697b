//! HTTP/2 frames by hand, for clients and servers that break the protocol (RFC 9113).

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use crate::backends::{Accepted, Behaviour};

/// Frame types.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of HEADERS and DATA; ACK of SETTINGS and PING.
pub mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The setting of the window with which streams begin.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Bytes to send, frame by frame.
#[derive(Clone, Default)]
pub struct Frames(Vec<u8>);

/// A frame that was received.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frames {
    /// What a client sends first. `window` is how much a server may send on each stream.
    pub fn client(window: u32) -> Self {
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend(window.to_be_bytes());
        Self(PREFACE.to_vec()).frame(kind::SETTINGS, 0, 0, &setting)
    }

    pub fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.0.extend(length);
        self.0.extend([kind, flags]);
        self.0.extend(stream.to_be_bytes());
        self.0.extend(payload);
        self
    }

    /// A request with these header fields besides the necessary ones.
    pub fn request(self, flags: u8, stream: u32, fields: &[u8]) -> Self {
        self.block(flags, stream, &[&pseudo_headers(), fields].concat())
    }

    /// A header block, in as many frames as it takes.
    pub fn block(mut self, flags: u8, stream: u32, block: &[u8]) -> Self {
        const LARGEST: usize = 16_384;
        let mut parts = block.chunks(LARGEST).peekable();
        let mut kind = kind::HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            let stream_end = if kind == kind::HEADERS { flags } else { 0 };
            self = self.frame(kind, end | stream_end, stream, part);
            kind = kind::CONTINUATION;
        }
        self
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: victim`.
fn pseudo_headers() -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x41, 6][..], b"victim"].concat()
}

/// A header field as a literal that is not put into the table (RFC 7541, section 6.2.2).
pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0][..], &string(name.as_bytes()), &string(value)].concat()
}

/// A header field that is put into the table, where its index is 62.
pub fn remembered(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &string(name.as_bytes()), &string(value)].concat()
}

/// The field that was put into the table last.
pub const LAST_REMEMBERED: u8 = 0x80 | 62;

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if bytes.len() < 127 {
        out.push(bytes.len() as u8);
    } else {
        out.push(127);
        let mut rest = bytes.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(bytes);
    out
}

impl Frame {
    /// Reads the next frame; `None` at the end of the connection.
    pub fn read(mut stream: impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 9];
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        match stream.read_exact(&mut payload) {
            Ok(()) => Ok(Some(Self { kind, flags, stream: u32::from_be_bytes(id), payload })),
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The error code of a GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        let code = self.payload.get(4..8).filter(|_| self.kind == kind::GOAWAY)?;
        Some(u32::from_be_bytes([code[0], code[1], code[2], code[3]]))
    }
}

/// A server that sends `answer(stream)` for each complete request. It acknowledges settings and pings.
pub fn server(answer: impl Fn(u32) -> Frames + Send + Sync + 'static) -> Behaviour {
    Arc::new(move |accepted: &Accepted| match serve(&accepted.stream, &answer) {
        Err(e) if is_end(&e) => Ok(()),
        ended => ended,
    })
}

/// An empty answer with status 200.
pub fn ok(stream: u32) -> Frames {
    Frames::default().block(flag::END_STREAM, stream, &[0x88])
}

fn serve(stream: &TcpStream, answer: &impl Fn(u32) -> Frames) -> io::Result<()> {
    let mut reader = io::BufReader::new(stream);
    reader.read_exact(&mut [0; PREFACE.len()])?;
    let mut out = stream;
    out.write_all(Frames::default().frame(kind::SETTINGS, 0, 0, &[]).bytes())?;
    while let Some(frame) = Frame::read(&mut reader)? {
        let reply = match frame.kind {
            kind::SETTINGS | kind::PING if frame.flags & flag::ACK == 0 => {
                let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                Frames::default().frame(frame.kind, flag::ACK, 0, payload)
            }
            kind::HEADERS | kind::DATA if frame.flags & flag::END_STREAM != 0 => answer(frame.stream),
            _ => continue,
        };
        out.write_all(reply.bytes())?;
    }
    Ok(())
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written() {
        let frames = Frames::default().frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 11]);
        let read = Frame::read(frames.bytes()).unwrap().unwrap();
        assert_eq!((read.kind, read.goaway()), (kind::GOAWAY, Some(11)));
        assert!(Frame::read(&b""[..]).unwrap().is_none());
        assert_eq!(string(&[b'a'; 1337])[..3], [127, 0xba, 0x09], "RFC 7541, section 5.1");
    }
}
