//! A connection on which both sides send a known pattern at the same time and check what they receive.
//!
//! The client announces in 48 bytes what it will send and what it wants back. Each side closes its half after its last
//! byte, and checks that the other's end of stream comes exactly after the last byte.

use std::{
    error, fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::Pattern;
use crate::dial::RetryingReader;

/// What the two sides will send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seed and number of bytes of the client.
    pub up: (u64, u64),
    /// Seed and number of bytes of the server.
    pub down: (u64, u64),
    /// The largest write; each has a random size up to this.
    pub piece: u32,
}

/// An error with the direction and the position where it occurred.
#[derive(Debug)]
struct Located {
    direction: &'static str,
    at: u64,
    error: io::Error,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} bytes: {}", self.direction, self.at, self.error)
    }
}

impl error::Error for Located {}

fn located(direction: &'static str, at: u64, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Located { direction, at, error })
}

const RECEIVING: &str = "receiving";

/// Adds to an error how many bytes the client had received.
pub fn after_receiving(bytes: u64, error: io::Error) -> io::Error {
    located(RECEIVING, bytes, error)
}

/// How many bytes the client had received before the error, if known.
pub fn received_before(error: &io::Error) -> Option<u64> {
    let located = error.get_ref()?.downcast_ref::<Located>()?;
    (located.direction == RECEIVING).then_some(located.at)
}

impl Plan {
    /// The length of the announcement.
    pub const HEADER: usize = 48;

    /// The beginning of the announcement. A packet that contains it is plaintext.
    pub const MARK: [u8; 8] = *b"weftload";

    /// `up` bytes to the server and `down` bytes back, in pieces of at most 64 KiB.
    pub fn new(up: u64, down: u64) -> Self {
        let mut random = rand::rng();
        Self { up: (random.random(), up), down: (random.random(), down), piece: 64 << 10 }
    }

    /// Random amounts up to `most` in either direction, in pieces of a random largest size.
    pub fn random(most: u64) -> Self {
        let mut random = rand::rng();
        let mut plan = Self::new(random.random_range(0..=most), random.random_range(0..=most));
        // Single bytes only in short streams; long ones would take too long.
        plan.piece = 1 << random.random_range(if most > 100_000 { 8 } else { 0 }..=17);
        plan
    }

    /// The client's side of the connection.
    pub fn run(&self, stream: &TcpStream) -> io::Result<()> {
        let mut out = stream;
        out.write_all(&self.encode())?;
        both(stream, self.up, self.down, self.piece)
    }

    /// The server's side of the connection.
    pub fn serve(stream: &TcpStream) -> io::Result<()> {
        Self::announced(stream)?.answer(stream)
    }

    /// Reads the client's announcement.
    pub fn announced(stream: &TcpStream) -> io::Result<Self> {
        let mut header = [0; Self::HEADER];
        RetryingReader(stream).read_exact(&mut header).map_err(|e| located("header", 0, e))?;
        Self::decode(&header)
    }

    /// The server's side after the announcement.
    pub fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        both(stream, self.down, self.up, self.piece)
    }

    /// The announcement.
    pub fn encode(&self) -> [u8; Self::HEADER] {
        let mut header = [0; Self::HEADER];
        let words = [MAGIC, u64::from(self.piece), self.up.0, self.up.1, self.down.0, self.down.1];
        for (place, word) in header.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        header
    }

    fn decode(header: &[u8; Self::HEADER]) -> io::Result<Self> {
        let mut words = [0; Self::HEADER / 8];
        for (word, place) in words.iter_mut().zip(header.chunks_exact(8)) {
            *word = place.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        let [magic, piece, up_seed, up, down_seed, down] = words;
        if header.starts_with(TLS_HANDSHAKE) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a TLS handshake instead of the announcement",
            ));
        }
        if magic != MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the announcement has the wrong beginning: first bytes lost",
            ));
        }
        let piece = u32::try_from(piece).map_err(io::Error::other)?;
        Ok(Self { up: (up_seed, up), down: (down_seed, down), piece })
    }
}

/// The beginning of a handshake record of TLS 1.0 to 1.3.
const TLS_HANDSHAKE: &[u8] = b"\x16\x03";
const MAGIC: u64 = u64::from_be_bytes(Plan::MARK);

/// Sends one pattern while it checks another, then checks that nothing follows.
fn both(stream: &TcpStream, send: (u64, u64), receive: (u64, u64), piece: u32) -> io::Result<()> {
    let sender_failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = write_pattern(stream, send, piece);
            if sent.is_err() {
                sender_failed.store(true, Ordering::SeqCst);
                // The reader would wait for bytes that the peer will not send.
                let _ = stream.shutdown(Shutdown::Both);
            }
            sent
        });
        let received = read_pattern(stream, receive);
        // The kernel reports a reset once: if the sender got it, the end that was read is not the peer's end of stream.
        let is_reset = is_early(&received) && (sender_failed.load(Ordering::SeqCst) || is_closed(stream));
        if received.is_err() && !is_reset {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")));
        match (received, sent) {
            // A reset after the peer's end of stream is reported as a broken pipe.
            (Err(received), Err(sent)) if is_reset && sent.kind() != io::ErrorKind::BrokenPipe => {
                Err(after_receiving(received_before(&received).unwrap_or_default(), sent))
            }
            (received, sent) => received.and(sent),
        }
    })
}

fn is_early(received: &io::Result<()>) -> bool {
    received.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
}

/// Whether both directions are closed: only a reset does that while there is something to send.
fn is_closed(stream: &TcpStream) -> bool {
    stream.peer_addr().is_err()
}

/// Writes `length` bytes of a pattern in pieces of random size, then closes this half.
pub fn write_pattern(mut stream: &TcpStream, (seed, length): (u64, u64), piece: u32) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut sizes = StdRng::seed_from_u64(seed);
    let mut buffer = vec![0; piece.max(1) as usize];
    while pattern.position() < length {
        let left = length - pattern.position();
        let size = u64::from(sizes.random_range(1..=piece.max(1))).min(left) as usize;
        let at = pattern.position();
        pattern.fill(&mut buffer[..size]);
        stream.write_all(&buffer[..size]).map_err(|e| located("sending", at, e))?;
    }
    stream.shutdown(Shutdown::Write).map_err(|e| located("closing", length, e))
}

/// Reads exactly `length` bytes of a pattern and then the end of the stream.
pub fn read_pattern(stream: &TcpStream, (seed, length): (u64, u64)) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; (64 << 10).min(length + 1) as usize];
    loop {
        let at = pattern.position();
        match RetryingReader(stream).read(&mut buffer).map_err(|e| after_receiving(at, e))? {
            0 if at == length => return Ok(()),
            0 => {
                let short = format!("end of stream, {length} bytes expected");
                return Err(after_receiving(at, io::Error::new(io::ErrorKind::UnexpectedEof, short)));
            }
            n => pattern.check(&buffer[..n]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?,
        }
        if pattern.position() > length {
            let more = format!("{} bytes received, {length} sent", pattern.position());
            return Err(io::Error::new(io::ErrorKind::InvalidData, more));
        }
    }
}

#[cfg(test)]
mod tests;
