//! What does rustls want next?

use rustls::{
    CommonState, Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, ReadTraffic, UnbufferedStatus, WriteTraffic},
};
use tokio::io::ReadBuf;

use super::leftover::Leftover;

/// One side of a connection; boxed, because it is large and streams are moved.
pub(super) enum Session {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// Where a step puts what it yields.
pub(super) struct Sink<'a, 'r, 'j, 'b> {
    pub(super) reader: Option<&'a mut ReadBuf<'r>>,
    pub(super) plain: &'a mut Leftover,
    pub(super) outgoing: &'a mut Leftover,
    pub(super) job: &'j mut Job<'b>,
}

/// What to do once rustls has nothing of its own to do.
pub(super) enum Job<'a> {
    Nothing,
    Encrypt { plain: &'a [u8], into: &'a mut [u8], written: usize },
    Close,
}

/// How far a step came.
pub(super) enum Step {
    /// Something was done; there may be more.
    Progress,
    /// The job is done and nothing more can be without bytes from the peer.
    Idle,
    /// The peer will not send any more (said once).
    PeerClosed,
}

impl Session {
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// One step; how many bytes at the front of `input` are done with, and what came of it.
    pub(super) fn step(
        &mut self,
        input: &mut [u8],
        sink: &mut Sink<'_, '_, '_, '_>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Client(connection) => handle(connection.process_tls_records(input), sink),
            Self::Server(connection) => handle(connection.process_tls_records(input), sink),
        }
    }
}

fn handle<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    sink: &mut Sink<'_, '_, '_, '_>,
) -> (usize, Result<Step, Error>) {
    let mut used = status.discard;
    let step = status.state.and_then(|state| match state {
        ConnectionState::ReadTraffic(traffic) => read(traffic, sink, &mut used),
        ConnectionState::EncodeTlsData(data) => encode(data, sink.outgoing),
        // Our queue is in order, so rustls need not wait until the socket has taken it.
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Step::Progress)
        }
        ConnectionState::WriteTraffic(traffic) => write(traffic, sink),
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Step::Idle),
        // Early data is never offered or accepted.
        _ => Err(Error::General("unexpected TLS state".to_owned())),
    });
    (used, step)
}

fn read<Side>(
    mut traffic: ReadTraffic<'_, '_, Side>,
    sink: &mut Sink<'_, '_, '_, '_>,
    used: &mut usize,
) -> Result<Step, Error> {
    while let Some(record) = traffic.next_record() {
        let record = record?;
        let mut payload = record.payload;
        // The order of bytes: nothing may overtake what already waits.
        if sink.plain.is_empty()
            && let Some(reader) = &mut sink.reader
        {
            let (now, later) = payload.split_at(payload.len().min(reader.remaining()));
            reader.put_slice(now);
            payload = later;
        }
        sink.plain.push(payload);
        *used += record.discard;
    }
    Ok(Step::Progress)
}

fn encode<Side>(mut data: EncodeTlsData<'_, Side>, outgoing: &mut Leftover) -> Result<Step, Error> {
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(need)) => need.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(Step::Progress),
    };
    match data.encode(outgoing.grow(size)) {
        Ok(_) => Ok(Step::Progress),
        Err(error) => Err(Error::General(error.to_string())),
    }
}

fn write<Side>(mut traffic: WriteTraffic<'_, Side>, sink: &mut Sink<'_, '_, '_, '_>) -> Result<Step, Error> {
    let full = |error: &dyn std::fmt::Display| Error::General(error.to_string());
    match sink.job {
        Job::Nothing => {}
        Job::Encrypt { plain, into, written } => {
            *written = traffic.encrypt(plain, into).map_err(|e| full(&e))?;
        }
        Job::Close => {
            let mut alert = [0; MAX_CLOSE];
            let n = traffic.queue_close_notify(&mut alert).map_err(|e| full(&e))?;
            sink.outgoing.push(&alert[..n]);
        }
    }
    Ok(Step::Idle)
}

/// A key update and an alert, encrypted: about 60 bytes.
const MAX_CLOSE: usize = 256;
