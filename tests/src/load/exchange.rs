//! Does one connection carry every byte, in order, in both directions at once, up to its end?
//!
//! The client says in 48 bytes what it will send and what it wants back; then both sides send and check at the same
//! time and close their half when they have sent all. Each side sees the other's end of stream exactly after the
//! last byte.

use std::{
    error, fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::Pattern;
use crate::dial::Steadfast;

/// What the two sides of a connection will send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The client's seed and number of bytes.
    pub up: (u64, u64),
    /// The server's.
    pub down: (u64, u64),
    /// The largest piece that either side writes at once; each piece has a random size up to it.
    pub piece: u32,
}

/// Where a direction begins to fail is worth more than that it failed.
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

/// The same error, of a client that had heard so many bytes.
pub fn having_heard(bytes: u64, error: io::Error) -> io::Error {
    located(RECEIVING, bytes, error)
}

/// How much a client had heard when it failed, if that is known.
pub fn heard(error: &io::Error) -> Option<u64> {
    let located = error.get_ref()?.downcast_ref::<Located>()?;
    (located.direction == RECEIVING).then_some(located.at)
}

impl Plan {
    /// The bytes by which the client announces a plan.
    pub const HEADER: usize = 48;

    /// How the announcement begins: whoever sees this on a wire sees plaintext.
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
        // Single bytes for short streams, so that long ones do not take for ever.
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

    /// What the client of this connection announces.
    pub fn announced(stream: &TcpStream) -> io::Result<Self> {
        let mut header = [0; Self::HEADER];
        Steadfast(stream).read_exact(&mut header).map_err(|e| located("header", 0, e))?;
        Self::decode(&header)
    }

    /// The server's side once the plan is known.
    pub fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        both(stream, self.down, self.up, self.piece)
    }

    /// The words by which the server learns of the plan.
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
            return Err(io::Error::new(io::ErrorKind::Unsupported, "TLS, and nobody who ended it"));
        }
        if magic != MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the header is not ours: first bytes lost",
            ));
        }
        let piece = u32::try_from(piece).map_err(io::Error::other)?;
        Ok(Self { up: (up_seed, up), down: (down_seed, down), piece })
    }
}

/// A record with a handshake of TLS 1.0 to 1.3.
const TLS_HANDSHAKE: &[u8] = b"\x16\x03";
const MAGIC: u64 = u64::from_be_bytes(Plan::MARK);

/// Sends one pattern while it checks another, then sees that nothing follows.
fn both(stream: &TcpStream, send: (u64, u64), receive: (u64, u64), piece: u32) -> io::Result<()> {
    let gave_up = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = write_pattern(stream, send, piece);
            if sent.is_err() {
                gave_up.store(true, Ordering::SeqCst);
                // The other half would wait for bytes that the peer no longer has a reason to send.
                let _ = stream.shutdown(Shutdown::Both);
            }
            sent
        });
        let received = read_pattern(stream, receive);
        // The kernel tells of a reset once: if it told the sender, the end that was read is not the peer's.
        let untold = is_early(&received) && (gave_up.load(Ordering::SeqCst) || is_closed(stream));
        if received.is_err() && !untold {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")));
        match (received, sent) {
            // A broken pipe is what becomes of a reset after the peer's own end.
            (Err(received), Err(sent)) if untold && sent.kind() != io::ErrorKind::BrokenPipe => {
                Err(having_heard(heard(&received).unwrap_or_default(), sent))
            }
            (received, sent) => received.and(sent),
        }
    })
}

fn is_early(received: &io::Result<()>) -> bool {
    received.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
}

/// Whether nothing goes in either direction any more: only a reset does that while there is something to send.
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
        match Steadfast(stream).read(&mut buffer).map_err(|e| having_heard(at, e))? {
            0 if at == length => return Ok(()),
            0 => {
                let short = format!("the end, where {length} were to come");
                return Err(having_heard(at, io::Error::new(io::ErrorKind::UnexpectedEof, short)));
            }
            n => pattern.check(&buffer[..n]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?,
        }
        if pattern.position() > length {
            let more = format!("{} bytes came where {length} were sent", pattern.position());
            return Err(io::Error::new(io::ErrorKind::InvalidData, more));
        }
    }
}

#[cfg(test)]
mod tests;
