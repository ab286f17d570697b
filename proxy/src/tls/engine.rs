//! How do records become bytes and bytes records?
//!
//! rustls's unbuffered connection, driven without I/O. It decrypts where the records lie and keeps no buffers of
//! its own, so an idle connection costs its keys and nothing else.

use rustls::{CommonState, Error, client::UnbufferedClientConnection};
use tokio::io::ReadBuf;

use super::{
    leftover::Leftover,
    session::{Job, Session, Sink, Step},
};

/// A connection's cryptography and the bytes that nobody has taken yet.
pub(super) struct Engine {
    session: Session,
    /// The beginning of a record whose end has not come.
    incoming: Vec<u8>,
    /// Decrypted, but the reader's buffer was full.
    plain: Leftover,
    /// Records that the socket has not taken.
    pub(super) outgoing: Leftover,
    /// The peer has said that nothing more will come.
    received_close: bool,
    sent_close: bool,
    failed: Option<Error>,
}

impl Engine {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            incoming: Vec::new(),
            plain: Leftover::default(),
            outgoing: Leftover::default(),
            received_close: false,
            sent_close: false,
            failed: None,
        }
    }

    /// A client's, with its hello to be sent.
    pub(super) fn client(connection: UnbufferedClientConnection) -> Result<Self, Error> {
        let mut engine = Self::new(Session::Client(Box::new(connection)));
        engine.receive(&mut [], None)?;
        Ok(engine)
    }

    pub(super) fn state(&self) -> &CommonState {
        self.session.state()
    }

    /// All that the peer will ever send has been read.
    pub(super) fn at_end(&self) -> bool {
        self.received_close
    }

    pub(super) fn sent_close(&self) -> bool {
        self.sent_close
    }

    /// What broke the connection for good.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    /// Hands over bytes that were decrypted before. True if there were any.
    pub(super) fn read_leftover(&mut self, reader: &mut ReadBuf<'_>) -> bool {
        let waiting = self.plain.as_slice();
        let n = waiting.len().min(reader.remaining());
        reader.put_slice(&waiting[..n]);
        self.plain.consume(n);
        n > 0
    }

    /// The beginning of a record: goes in front of the next bytes.
    pub(super) fn held(&self) -> &[u8] {
        &self.incoming
    }

    /// Takes in what came from the peer: `input` is [`Self::held`] and then the new bytes.
    ///
    /// Everything is decrypted at once. What does not fit the reader is kept as plaintext: no more than the caller
    /// read from the socket this time, and one record.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        mut reader: Option<&mut ReadBuf<'_>>,
    ) -> Result<(), Error> {
        let mut start = 0;
        loop {
            let (used, step) = self.step(&mut input[start..], reader.as_deref_mut(), &mut Job::Nothing);
            start += used;
            match step {
                Ok(Step::Progress) => {}
                Ok(Step::Idle) => break,
                Ok(Step::PeerClosed) => {
                    // RFC 8446, section 6.1: whatever follows a closure is ignored.
                    self.received_close = true;
                    start = input.len();
                    break;
                }
                Err(error) => return Err(self.fail(error, &mut input[start..])),
            }
        }
        let rest = &input[start..];
        if rest.len() > MAX_HELD {
            return Err(self.fail(Error::PeerSentOversizedRecord, &mut []));
        }
        match rest.is_empty() {
            true => self.incoming = Vec::new(),
            false => self.incoming = rest.to_vec(),
        }
        Ok(())
    }

    /// Encrypts the beginning of `plain`: how many bytes of it were taken, and how many of `into` were filled.
    ///
    /// To be called with little that is `outgoing`, and to be sent after what is `outgoing` then.
    pub(super) fn encrypt(&mut self, plain: &[u8], into: &mut [u8]) -> Result<(usize, usize), Error> {
        let plain = &plain[..plain.len().min(MAX_WRITE)];
        let mut job = Job::Encrypt { plain, into, written: 0 };
        self.work(&mut job)?;
        match job {
            Job::Encrypt { written, .. } if written > 0 => Ok((plain.len(), written)),
            _ => Err(Error::EncryptError),
        }
    }

    /// Queues the message that nothing more will come from us.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        if !self.sent_close {
            self.work(&mut Job::Close)?;
            self.sent_close = true;
        }
        Ok(())
    }

    fn work(&mut self, job: &mut Job<'_>) -> Result<(), Error> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        // rustls counts from the front of what it has seen, so it must see the same bytes again.
        let mut input = std::mem::take(&mut self.incoming);
        loop {
            let (used, step) = self.step(&mut input, None, job);
            input.drain(..used);
            match step {
                Ok(Step::Progress) => {}
                Ok(Step::Idle) => break,
                Ok(Step::PeerClosed) => {
                    self.received_close = true;
                    input.clear();
                }
                Err(error) => return Err(self.fail(error, &mut input)),
            }
        }
        self.incoming = input;
        Ok(())
    }

    fn step(
        &mut self,
        input: &mut [u8],
        reader: Option<&mut ReadBuf<'_>>,
        job: &mut Job<'_>,
    ) -> (usize, Result<Step, Error>) {
        let mut sink = Sink { reader, plain: &mut self.plain, outgoing: &mut self.outgoing, job };
        self.session.step(input, &mut sink)
    }

    /// Remembers what broke the connection, and queues the alert that tells the peer.
    fn fail(&mut self, error: Error, input: &mut [u8]) -> Error {
        let mut start = 0;
        // Only while there is something to send: rustls must not judge the bad record a second time.
        while self.state().wants_write() {
            let (used, step) = self.step(&mut input[start..], None, &mut Job::Nothing);
            start += used;
            if !matches!(step, Ok(Step::Progress)) {
                break;
            }
        }
        self.failed = Some(error.clone());
        error
    }
}

/// The largest record and the largest handshake message that rustls takes (64 KiB) bound what can be unfinished.
pub(super) const MAX_HELD: usize = 72 * 1024;

/// Plaintext that becomes one write to the socket: four records.
const MAX_WRITE: usize = 64 * 1024;
