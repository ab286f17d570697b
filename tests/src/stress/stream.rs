//! The two ends of a stream, and the order in which they close.

use std::{
    io,
    net::{Shutdown, TcpStream},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{READERS, Reader, WRITERS, Writer, socket::maybe_pause};

/// Which side closes first, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Both send and receive at once, close their halves, read to the end.
    BothHalves,
    /// The client sends and closes its half; the server reads to the end, then answers.
    ClientHalf,
    /// The server sends and closes its half; the client reads to the end, then answers.
    ServerHalf,
    /// Both send and receive at once; the client closes when it has received everything.
    ClientClose,
    /// The same, but the server closes.
    ServerClose,
    /// The server closes its half, then the socket, while the client reads slowly.
    ServerGone,
}

pub const CLOSINGS: [Closing; 6] = [
    Closing::BothHalves,
    Closing::ClientHalf,
    Closing::ServerHalf,
    Closing::ClientClose,
    Closing::ServerClose,
    Closing::ServerGone,
];

/// One connection: what each end sends, how it is written and read, how it is closed.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    seed: u64,
    closing: Closing,
    up: (Writer, Reader, u64),
    down: (Writer, Reader, u64),
}

struct End<'a> {
    stream: &'a TcpStream,
    seed: u64,
    send: (Writer, u64),
    receive: (Reader, u64),
    random: StdRng,
}

impl Stream {
    /// The `number`th stream of a series. It goes through all combinations of writer and reader of one direction and
    /// the closings, then repeats them with other sizes and another opposite direction.
    pub fn new(number: u64) -> Self {
        let mut random = StdRng::seed_from_u64(number);
        let mut length = |small: bool| {
            let magnitude = random.random_range(0..=if small { 14 } else { 21 });
            random.random_range(1..=1u64 << magnitude)
        };
        let (writers, readers, closings) = (WRITERS.len(), READERS.len(), CLOSINGS.len());
        let number = number as usize;
        let (writer, reader) = (number % writers, number / writers % readers);
        let round = number / (writers * readers * closings);
        let (up, down) = (WRITERS[writer], WRITERS[(writer + round + 3) % writers]);
        Stream {
            seed: (number as u64) << 8,
            closing: CLOSINGS[number / (writers * readers) % closings],
            up: (up, READERS[reader], length(up == Writer::Small)),
            down: (down, READERS[(reader + 2 * round + 4) % readers], length(down == Writer::Small)),
        }
    }

    /// The number of bytes, both directions together.
    pub fn bytes(&self) -> u64 {
        self.up.2 + self.down.2
    }

    /// Runs the client's end.
    pub fn client(&self, stream: &TcpStream) -> io::Result<()> {
        let ((writer, _, up), (_, reader, down)) = (self.up, self.down);
        let reader = if self.closing == Closing::ServerGone { Reader::Slow } else { reader };
        let end = End {
            stream,
            seed: self.seed,
            send: (writer, up),
            receive: (reader, down),
            random: StdRng::seed_from_u64(self.seed + 2),
        };
        match self.closing {
            Closing::BothHalves => end.at_once(true, true),
            Closing::ClientHalf | Closing::ServerGone => end.send_then_receive(true, true),
            Closing::ServerHalf => end.receive_then_send(),
            Closing::ClientClose => end.at_once(false, false),
            Closing::ServerClose => end.at_once(false, true),
        }
    }

    /// Runs the server's end.
    pub fn server(&self, stream: &TcpStream) -> io::Result<()> {
        let ((_, reader, up), (writer, _, down)) = (self.up, self.down);
        let end = End {
            stream,
            seed: self.seed,
            send: (writer, down),
            receive: (reader, up),
            random: StdRng::seed_from_u64(self.seed + 3),
        };
        match self.closing {
            Closing::BothHalves => end.at_once(true, true),
            Closing::ClientHalf => end.receive_then_send(),
            Closing::ServerHalf => end.send_then_receive(true, true),
            Closing::ClientClose => end.at_once(false, true),
            Closing::ServerClose => end.at_once(false, false),
            Closing::ServerGone => end.at_once(true, true),
        }
    }
}

impl End<'_> {
    /// Sends and receives with two threads.
    fn at_once(mut self, close_half: bool, to_end: bool) -> io::Result<()> {
        let mut random = StdRng::from_rng(&mut self.random);
        let (seed, (reader, length), stream) = (self.received(), self.receive, self.stream);
        thread::scope(|scope| {
            let receiving = scope.spawn(move || {
                shut_down_on_error(stream, reader.run(stream, seed, length, to_end, &mut random))
            });
            let sent = shut_down_on_error(stream, self.send(close_half));
            let received = receiving.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
            received.and(sent)
        })
    }

    fn send_then_receive(mut self, close_half: bool, to_end: bool) -> io::Result<()> {
        self.send(close_half)?;
        maybe_pause(&mut self.random);
        let (reader, length) = self.receive;
        reader.run(self.stream, self.received(), length, to_end, &mut self.random)
    }

    fn receive_then_send(mut self) -> io::Result<()> {
        let (reader, length) = self.receive;
        reader.run(self.stream, self.received(), length, true, &mut self.random)?;
        self.send(true)
    }

    fn send(&mut self, close_half: bool) -> io::Result<()> {
        let (writer, length) = self.send;
        maybe_pause(&mut self.random);
        writer.run(self.stream, self.seed ^ length, length, &mut self.random)?;
        if close_half { self.stream.shutdown(Shutdown::Write) } else { Ok(()) }
    }

    /// The seed of the bytes from the other end.
    fn received(&self) -> u64 {
        self.seed ^ self.receive.1
    }
}

/// Shuts the connection down after an error, so that the other thread and the other end do not wait.
fn shut_down_on_error(stream: &TcpStream, result: io::Result<()>) -> io::Result<()> {
    if result.is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    result
}
