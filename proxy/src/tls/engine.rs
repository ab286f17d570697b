//! Turns TLS records into plaintext and plaintext into records, without doing any I/O.
//!
//! It drives rustls' unbuffered connection, which decrypts records where they lie and keeps no buffers of its own.
//! An idle connection therefore costs its keys and certificates and nothing else.

use rustls::{CommonState, Error, client::UnbufferedClientConnection};
use tokio::io::ReadBuf;

use super::{
    pending::PendingBytes,
    session::{Operation, Output, Progress, Session},
};

/// A connection's cryptography, and the bytes that could not be delivered yet.
pub(super) struct Engine {
    session: Session,
    /// The beginning of a record whose end has not arrived.
    incoming: Vec<u8>,
    /// Plaintext for which the reader's buffer had no room.
    plain: PendingBytes,
    /// Records that the socket has not taken.
    pub(super) outgoing: PendingBytes,
    received_close: bool,
    sent_close: bool,
    failed: Option<Error>,
}

impl Engine {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            incoming: Vec::new(),
            plain: PendingBytes::default(),
            outgoing: PendingBytes::default(),
            received_close: false,
            sent_close: false,
            failed: None,
        }
    }

    /// The client's side, with its ClientHello already in `outgoing`.
    pub(super) fn client(connection: UnbufferedClientConnection) -> Result<Self, Error> {
        let mut engine = Self::new(Session::Client(Box::new(connection)));
        engine.receive(&mut [], None)?;
        Ok(engine)
    }

    pub(super) fn state(&self) -> &CommonState {
        self.session.state()
    }

    /// Whether the peer has closed its direction.
    pub(super) fn received_close(&self) -> bool {
        self.received_close
    }

    pub(super) fn sent_close(&self) -> bool {
        self.sent_close
    }

    /// The error that broke the connection for good.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failed.clone()
    }

    /// Hands over plaintext that is waiting. Returns whether there was any.
    pub(super) fn read_pending(&mut self, reader: &mut ReadBuf<'_>) -> bool {
        let waiting = self.plain.as_slice();
        let n = waiting.len().min(reader.remaining());
        reader.put_slice(&waiting[..n]);
        self.plain.consume(n);
        n > 0
    }

    /// The beginning of a record, which goes in front of the next bytes.
    pub(super) fn incomplete_record(&self) -> &[u8] {
        &self.incoming
    }

    /// Takes in what the peer sent: `input` is [`Self::incomplete_record`] followed by the new bytes.
    ///
    /// Everything is decrypted at once. Plaintext that does not fit the reader is kept: at most what the caller
    /// read from the socket this time, and one record.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        mut reader: Option<&mut ReadBuf<'_>>,
    ) -> Result<(), Error> {
        let mut start = 0;
        loop {
            let (used, progress) =
                self.step(&mut input[start..], reader.as_deref_mut(), &mut Operation::Nothing);
            start += used;
            match progress {
                Ok(Progress::Advanced) => {}
                Ok(Progress::Idle) => break,
                Ok(Progress::PeerClosed) => {
                    // RFC 8446, section 6.1: whatever follows a closure is ignored.
                    self.received_close = true;
                    start = input.len();
                    break;
                }
                Err(error) => return Err(self.fail(error, &mut input[start..])),
            }
        }
        let rest = &input[start..];
        if rest.len() > MAX_INCOMPLETE {
            return Err(self.fail(Error::PeerSentOversizedRecord, &mut []));
        }
        match rest.is_empty() {
            true => self.incoming = Vec::new(),
            false => self.incoming = rest.to_vec(),
        }
        Ok(())
    }

    /// Encrypts the beginning of `plain`. Returns how many bytes of it were taken and how many of `into` were filled.
    ///
    /// The caller sends the result after everything in `outgoing`, so little should be waiting there.
    pub(super) fn encrypt(&mut self, plain: &[u8], into: &mut [u8]) -> Result<(usize, usize), Error> {
        let plain = &plain[..plain.len().min(MAX_WRITE)];
        let mut operation = Operation::Encrypt { plain, into, written: 0 };
        self.run(&mut operation)?;
        match operation {
            Operation::Encrypt { written, .. } if written > 0 => Ok((plain.len(), written)),
            _ => Err(Error::EncryptError),
        }
    }

    /// Queues close_notify: we send nothing more.
    pub(super) fn close_notify(&mut self) -> Result<(), Error> {
        if !self.sent_close {
            self.run(&mut Operation::CloseNotify)?;
            self.sent_close = true;
        }
        Ok(())
    }

    fn run(&mut self, operation: &mut Operation<'_>) -> Result<(), Error> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        // rustls counts from the front of what it has seen, so it must see the same bytes again.
        let mut input = std::mem::take(&mut self.incoming);
        loop {
            let (used, progress) = self.step(&mut input, None, operation);
            input.drain(..used);
            match progress {
                Ok(Progress::Advanced) => {}
                Ok(Progress::Idle) => break,
                Ok(Progress::PeerClosed) => {
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
        operation: &mut Operation<'_>,
    ) -> (usize, Result<Progress, Error>) {
        let mut output = Output { reader, plain: &mut self.plain, outgoing: &mut self.outgoing, operation };
        self.session.step(input, &mut output)
    }

    /// Remembers what broke the connection, and queues the alert that tells the peer.
    fn fail(&mut self, error: Error, input: &mut [u8]) -> Error {
        let mut start = 0;
        // Only while rustls has something to send: otherwise it would process the bad record a second time.
        while self.state().wants_write() {
            let (used, progress) = self.step(&mut input[start..], None, &mut Operation::Nothing);
            start += used;
            if !matches!(progress, Ok(Progress::Advanced)) {
                break;
            }
        }
        self.failed = Some(error.clone());
        error
    }
}

/// Bounds what can be incomplete: the largest record, and the largest handshake message that rustls takes (64 KiB).
pub(super) const MAX_INCOMPLETE: usize = 72 * 1024;

/// Plaintext that becomes one write to the socket: four records.
const MAX_WRITE: usize = 64 * 1024;
