//! Follows the frames of an HTTP/2 connection, and finds floods of those that cost work but carry nothing.
//!
//! h2 handles SETTINGS, PING, PRIORITY and WINDOW_UPDATE one by one and keeps nothing of them, so a client can send them
//! without end. Clients that transfer something send them too. So each frame with a head or with data, in either
//! direction, allows a number of them, and so does time.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::connection::Connection;

/// Control frames that a client may send at once, or in advance of what it transfers.
const BURST: u32 = 10_000;
/// Control frames that a client may send per second without transferring anything.
const PER_SECOND: u32 = 500;
/// Control frames for each HEADERS or DATA. Envoy allows as many.
const PER_TRANSFER: u32 = 10;

const HEADER: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Watches one connection.
pub(super) struct FrameWatch {
    control: ControlFrames,
    connection: Arc<Connection>,
}

/// What one connection may still send.
struct ControlFrames {
    received: Frames,
    sent: Frames,
    allowed: u32,
    /// When time was last taken into account.
    since: Instant,
    /// The flood, from the end of its current frame on.
    flood: Option<&'static str>,
}

/// The frame headers in a stream of bytes that arrives in pieces.
struct Frames {
    /// Bytes before the next header.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
}

impl FrameWatch {
    /// Of a connection that a client has opened just now.
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        Self { control: ControlFrames::new(Instant::now()), connection: connection.clone() }
    }

    /// Follows what was read after the first `before` bytes of `buffer`. Cuts a flood off; what is returned is to be read
    /// in its place, and makes h2 end the connection.
    pub(super) fn received(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> Option<Bytes> {
        let (passed, what) = self.control.received(&buffer.filled()[before..], Instant::now)?;
        self.connection.link().flood(what);
        buffer.set_filled(before + passed);
        Some(calm().into())
    }

    /// Follows bytes to the client, of which up to `most` were sent. Returns how many.
    pub(super) fn sent(&mut self, bytes: &[u8], most: usize) -> usize {
        let sent = most.min(bytes.len());
        self.control.sent(&bytes[..sent]);
        sent
    }
}

impl ControlFrames {
    /// Of a connection that a client has opened just now.
    fn new(now: Instant) -> Self {
        let (received, sent) = (Frames::after(PREFACE), Frames::after(0));
        Self { received, sent, allowed: BURST, since: now, flood: None }
    }

    /// Follows bytes from the client. At a flood, returns how many of them are before its end, which is the end of a
    /// frame, and what it consists of.
    fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Option<(usize, &'static str)> {
        let length = bytes.len();
        loop {
            self.received.skip_payload(&mut bytes);
            if let Some(what) = self.flood
                && self.received.is_between()
            {
                return Some((length - bytes.len(), what));
            }
            let kind = self.received.next(&mut bytes)?;
            match kind {
                DATA | HEADERS => self.transferred(),
                // h2 bounds them itself.
                RST_STREAM | GOAWAY | CONTINUATION | PUSH_PROMISE => {}
                kind => self.control(kind, &now),
            }
        }
    }

    /// Follows bytes to the client.
    fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(kind) = self.sent.next(&mut bytes) {
            if matches!(kind, DATA | HEADERS) {
                self.transferred();
            }
        }
    }

    fn transferred(&mut self) {
        self.allowed = (self.allowed + PER_TRANSFER).min(BURST);
    }

    fn control(&mut self, kind: u8, now: &impl Fn() -> Instant) {
        if self.allowed == 0 {
            let now = now();
            let millis = now.saturating_duration_since(self.since).as_millis().min(u128::from(BURST));
            self.since = now;
            self.allowed = (millis as u32 * PER_SECOND / 1_000).min(BURST);
        }
        match self.allowed.checked_sub(1) {
            Some(left) => self.allowed = left,
            None => self.flood = Some(name(kind)),
        }
    }
}

impl Frames {
    fn after(skip: usize) -> Self {
        Self { skip, header: [0; HEADER], have: 0 }
    }

    /// Whether the next byte begins a frame.
    fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// The kind of the next frame whose header is complete, after its header.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<u8> {
        self.skip_payload(bytes);
        if self.skip > 0 {
            return None;
        }
        let taken = (HEADER - self.have).min(bytes.len());
        self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.have += taken;
        if self.have < HEADER {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, ..] = self.header;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(kind)
    }

    fn skip_payload(&mut self, bytes: &mut &[u8]) {
        let skipped = self.skip.min(bytes.len());
        *bytes = &bytes[skipped..];
        self.skip -= skipped;
    }
}

fn name(kind: u8) -> &'static str {
    match kind {
        SETTINGS => "a flood of SETTINGS",
        PING => "a flood of PING",
        PRIORITY => "a flood of PRIORITY",
        WINDOW_UPDATE => "a flood of WINDOW_UPDATE",
        _ => "a flood of frames of unknown types",
    }
}

/// What h2 reads in place of a flood, so that it says GOAWAY with ENHANCE_YOUR_CALM: a head that never ends, in more
/// CONTINUATION frames than it allows.
fn calm() -> Vec<u8> {
    /// More than there can be: h2 allows 1.25 times as many as the largest header list fills.
    const CONTINUATIONS: usize = 32;
    let frame = |kind| [0, 0, 0, kind, 0, 0x7f, 0xff, 0xff, 0xff];
    let mut bytes = frame(HEADERS).to_vec();
    for _ in 0..CONTINUATIONS {
        bytes.extend(frame(CONTINUATION));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
        [&length[..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    fn client(frames: &[Vec<u8>]) -> Vec<u8> {
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames.concat()].concat()
    }

    #[test]
    fn a_flood_is_cut_off_after_a_whole_frame_however_its_bytes_arrive() {
        let pings = vec![frame(PING, &[7; 8]); BURST as usize + 10];
        let bytes = client(&pings);
        let whole = PREFACE + (BURST as usize + 1) * 17;
        for size in [bytes.len(), 1, 7, 8_192] {
            let now = Instant::now();
            let mut frames = ControlFrames::new(now);
            let mut before = 0;
            let cut = bytes.chunks(size).find_map(|piece| {
                let cut = frames.received(piece, || now);
                before += piece.len();
                cut.map(|(at, what)| (before - piece.len() + at, what))
            });
            assert_eq!(cut, Some((whole, "a flood of PING")), "in pieces of {size}");
        }
    }

    #[test]
    fn a_client_that_transfers_something_may_send_as_many_as_it_needs() {
        let now = Instant::now();
        let mut frames = ControlFrames::new(now);
        assert_eq!(frames.received(&client(&[]), || now), None);
        for _ in 0..BURST {
            // Two WINDOW_UPDATE for each DATA is what clients send that read byte by byte.
            frames.sent(&frame(DATA, b"x"));
            let windows = [frame(WINDOW_UPDATE, &[0, 0, 0, 1]), frame(WINDOW_UPDATE, &[0, 0, 0, 1])];
            assert_eq!(frames.received(&windows.concat(), || now), None);
        }
    }

    #[test]
    fn time_allows_some() {
        let begun = Instant::now();
        let mut frames = ControlFrames::new(begun);
        assert_eq!(frames.received(&client(&vec![frame(PING, &[0; 8]); BURST as usize]), || begun), None);
        let later = begun + Duration::from_secs(1);
        let more = vec![frame(PING, &[0; 8]); PER_SECOND as usize].concat();
        assert_eq!(frames.received(&more, || later), None);
        assert!(frames.received(&frame(SETTINGS, &[]), || later).is_some());
    }

    #[tokio::test]
    async fn what_replaces_a_flood_makes_h2_ask_for_calm() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let settings = frame(SETTINGS, &[])
            .into_iter()
            .enumerate()
            .map(|(at, byte)| if at == 8 { 0 } else { byte })
            .collect::<Vec<u8>>();
        client.write_all(&self::client(&[settings, calm()])).await.unwrap();
        let serving = tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.max_header_list_size(super::super::settings::MAX_HEADER_LIST);
            let mut connection = builder.handshake::<_, Bytes>(server).await.unwrap();
            while let Some(Ok(_)) = connection.accept().await {}
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        serving.await.unwrap();
        let goaway =
            answer.windows(HEADER).position(|part| part[3] == GOAWAY && part[..2] == [0, 0]).unwrap();
        let code = &answer[goaway + HEADER + 4..goaway + HEADER + 8];
        assert_eq!(code, u32::from(h2::Reason::ENHANCE_YOUR_CALM).to_be_bytes());
    }
}
