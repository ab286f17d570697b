//! The frames of the protocol: ttrpc messages inside the frames of NRI's multiplexer.
//!
//! A frame of the multiplexer is a connection's number and a length, four bytes each, big-endian, then that many bytes
//! of the connection. A ttrpc message is a length, a stream's number, a type and flags (ten bytes), then the message.

use bytes::{Buf, BufMut, BytesMut};

/// The connection on which the runtime calls the plugin.
pub(super) const PLUGIN_SERVICE: u32 = 1;
/// The connection on which the plugin calls the runtime.
pub(super) const RUNTIME_SERVICE: u32 = 2;

pub(super) const REQUEST: u8 = 1;
pub(super) const RESPONSE: u8 = 2;

const TRUNK_HEADER: usize = 8;
const HEADER: usize = 10;
/// The largest message (ttrpc's `messageLengthMax`).
const MAX_MESSAGE: usize = 4 << 20;
/// The largest message that is sent. The runtime reads a frame with one call into a buffer of 4096 bytes (Go's
/// bufio.Reader), and gives up if it does not fit.
const MAX_SENT: usize = 4_000;

/// A ttrpc message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) connection: u32,
    pub(super) stream: u32,
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

/// Bytes that are not this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes; at most 4 MiB are allowed")]
    TooLong(usize),
    #[error("a frame for connection {0}, which does not exist")]
    UnknownConnection(u32),
    #[error("an answer of {0} bytes does not fit into a frame")]
    CannotSend(usize),
}

impl Message {
    /// The bytes to write.
    pub(super) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let length = HEADER + self.payload.len();
        let (Ok(of_frame), Ok(of_message)) = (u32::try_from(length), u32::try_from(self.payload.len()))
        else {
            return Err(FrameError::CannotSend(length));
        };
        if length > MAX_SENT {
            return Err(FrameError::CannotSend(length));
        }
        let mut bytes = Vec::with_capacity(TRUNK_HEADER + length);
        bytes.put_u32(self.connection);
        bytes.put_u32(of_frame);
        bytes.put_u32(of_message);
        bytes.put_u32(self.stream);
        bytes.put_u8(self.kind);
        bytes.put_u8(0);
        bytes.put_slice(&self.payload);
        Ok(bytes)
    }
}

/// Puts messages together from what is read.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    trunk: BytesMut,
    /// The bytes of the two connections.
    connections: [BytesMut; 2],
}

impl Decoder {
    /// Where to read into.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.trunk
    }

    /// The next complete message, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Message>, FrameError> {
        loop {
            for (bytes, connection) in self.connections.iter_mut().zip(PLUGIN_SERVICE..) {
                if let Some(message) = message(bytes, connection)? {
                    return Ok(Some(message));
                }
            }
            if !self.unwrap_frame()? {
                return Ok(None);
            }
        }
    }

    /// Moves a frame's bytes to its connection; false if it is not complete.
    fn unwrap_frame(&mut self) -> Result<bool, FrameError> {
        let mut header = &self.trunk[..];
        if header.len() < TRUNK_HEADER {
            return Ok(false);
        }
        let (connection, length) = (header.get_u32(), header.get_u32() as usize);
        if length > HEADER + MAX_MESSAGE {
            return Err(FrameError::TooLong(length));
        }
        if header.len() < length {
            return Ok(false);
        }
        let place = connection.checked_sub(PLUGIN_SERVICE).map(|place| place as usize);
        let bytes = place
            .and_then(|place| self.connections.get_mut(place))
            .ok_or(FrameError::UnknownConnection(connection))?;
        self.trunk.advance(TRUNK_HEADER);
        bytes.unsplit(self.trunk.split_to(length));
        Ok(true)
    }
}

fn message(bytes: &mut BytesMut, connection: u32) -> Result<Option<Message>, FrameError> {
    let mut header = &bytes[..];
    if header.len() < HEADER {
        return Ok(None);
    }
    let (length, stream, kind) = (header.get_u32() as usize, header.get_u32(), header.get_u8());
    if length > MAX_MESSAGE {
        return Err(FrameError::TooLong(length));
    }
    if bytes.len() < HEADER + length {
        return Ok(None);
    }
    bytes.advance(HEADER);
    let payload = bytes.split_to(length).to_vec();
    Ok(Some(Message { connection, stream, kind, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(connection: u32, stream: u32, payload: &[u8]) -> Message {
        Message { connection, stream, kind: REQUEST, payload: payload.to_vec() }
    }

    fn decode(decoder: &mut Decoder) -> Vec<Message> {
        std::iter::from_fn(|| decoder.next().unwrap()).collect()
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let sent = [sample(1, 1, b"first"), sample(2, 1, b""), sample(1, 3, &[7; 3_000])];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| message.encode().unwrap()).collect();
        for size in [1, 7, 64, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut received = Vec::new();
            for part in bytes.chunks(size) {
                decoder.buffer().extend_from_slice(part);
                received.extend(decode(&mut decoder));
            }
            assert_eq!(received, sent, "in parts of {size}");
        }
    }

    #[test]
    fn a_message_may_be_spread_over_frames_between_those_of_another_connection() {
        let whole = sample(1, 5, b"spread").encode().unwrap();
        let content = &whole[TRUNK_HEADER..];
        let frame = |connection: u32, bytes: &[u8]| {
            let mut frame = Vec::new();
            frame.put_u32(connection);
            frame.put_u32(u32::try_from(bytes.len()).unwrap());
            frame.put_slice(bytes);
            frame
        };
        let other = sample(2, 9, b"other");
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&frame(1, &content[..3]));
        decoder.buffer().extend_from_slice(&other.encode().unwrap());
        decoder.buffer().extend_from_slice(&frame(1, &content[3..]));
        assert_eq!(decode(&mut decoder), [other, sample(1, 5, b"spread")]);
    }

    #[test]
    fn what_is_too_long_or_for_nobody_is_refused() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&[0, 0, 0, 1, 0xff, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(FrameError::TooLong(0xff00_0000)));
        for connection in [0, 3, u32::MAX] {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&sample(connection, 1, b"x").encode().unwrap());
            assert_eq!(decoder.next(), Err(FrameError::UnknownConnection(connection)));
        }
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 10, 0xff, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
        assert_eq!(decoder.next(), Err(FrameError::TooLong(0xff00_0000)));
        assert!(sample(1, 1, &[0; MAX_SENT]).encode().is_err());
    }
}
