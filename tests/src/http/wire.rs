//! Reads a connection, or what was recorded of one, line by line and piece by piece.

use std::{
    io::{self, Empty, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

use anyhow::{Context, Result, bail, ensure};

/// A connection and the bytes that were received but not yet read.
pub struct Wire<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
    ended: bool,
}

/// Lines are for heads: a longer one is a mistake of the sender.
const LONGEST_LINE: usize = 1 << 20;

impl Wire<Empty> {
    /// Reads what was recorded.
    pub fn recorded(bytes: &[u8]) -> Self {
        Self { stream: io::empty(), buffer: bytes.to_owned(), ended: false }
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new(), ended: false }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        (&self.stream).write_all(bytes.as_ref())
    }

    /// Closes the sending half.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes the sending half and waits until the peer has closed the other one. A plain close would reset the
    /// connection if bytes were unread.
    pub fn close(&mut self) -> io::Result<()> {
        self.half_close()?;
        self.rest(|_| Ok(())).map(drop)
    }

    /// Makes the coming drop reset the connection.
    pub fn reset(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO))
    }
}

impl<S: Read> Wire<S> {
    /// Whether the end of the stream was met.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The number of bytes that were received but not yet read.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Waits for the first byte of the next message; false if the stream ends before it, or nobody uses the connection.
    pub fn begins(&mut self) -> Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(true);
        }
        match self.fill() {
            Ok(n) => Ok(n > 0),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The next line without its CRLF. A CR or LF elsewhere is an error, as is the end of the stream.
    pub fn line(&mut self) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                ensure!(line.pop() == Some(b'\r'), "a line ends with a bare LF");
                ensure!(!line.contains(&b'\r'), "a line contains a bare CR");
                return Ok(line);
            }
            searched = self.buffer.len();
            ensure!(searched < LONGEST_LINE, "a line of more than {LONGEST_LINE} bytes");
            if self.fill().context("within a line")? == 0 {
                bail!("the stream ended within a line, after {:?}", String::from_utf8_lossy(&self.buffer));
            }
        }
    }

    /// Passes exactly `length` bytes to `sink`.
    pub fn exactly(&mut self, length: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut missing = length;
        while missing > 0 {
            if self.buffer.is_empty() && self.fill().context("within a body")? == 0 {
                bail!("the stream ended {missing} of {length} bytes too early");
            }
            let take = self.buffer.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            sink(&self.buffer[..take])?;
            self.buffer.drain(..take);
            missing -= take as u64;
        }
        Ok(())
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = Vec::with_capacity(N);
        self.exactly(N as u64, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        bytes.try_into().ok().context("the length was asked for")
    }

    /// Passes everything until the end of the stream to `sink` and returns the number of bytes.
    pub fn rest(&mut self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
        let mut count = 0;
        loop {
            sink(&self.buffer)?;
            count += self.buffer.len() as u64;
            self.buffer.clear();
            if self.fill()? == 0 {
                return Ok(count);
            }
        }
    }

    /// Everything until the end of the stream.
    pub fn all(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.rest(|part| {
            all.extend_from_slice(part);
            Ok(())
        })?;
        Ok(all)
    }

    /// Whatever has been received, at least one byte; empty at the end of the stream.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut block = [0; 64 << 10];
        let count = loop {
            match self.stream.read(&mut block) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.ended |= count == 0;
        self.buffer.extend_from_slice(&block[..count]);
        Ok(count)
    }
}
