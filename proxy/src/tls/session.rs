//! Runs rustls' state machine: one call makes one step and hands out what that step produced.

use rustls::{
    CommonState, Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, ReadTraffic, UnbufferedStatus, WriteTraffic},
};
use tokio::io::ReadBuf;

use super::pending::PendingBytes;

/// One side of a connection; boxed, because it is large and streams are moved.
pub(super) enum Session {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// Where a step puts what it produces, and what it is asked to do.
pub(super) struct Output<'a, 'r, 'o, 'b> {
    pub(super) reader: Option<&'a mut ReadBuf<'r>>,
    /// Takes the plaintext that does not fit the reader.
    pub(super) plain: &'a mut PendingBytes,
    pub(super) outgoing: &'a mut PendingBytes,
    pub(super) operation: &'o mut Operation<'b>,
}

/// What to do once rustls has no work of its own left.
pub(super) enum Operation<'a> {
    Nothing,
    Encrypt { plain: &'a [u8], into: &'a mut [u8], written: usize },
    CloseNotify,
}

/// What a step achieved.
pub(super) enum Progress {
    /// It did something, and there may be more to do.
    Advanced,
    /// The operation is done. Nothing more can happen without bytes from the peer.
    Idle,
    /// The peer sent close_notify (reported once).
    PeerClosed,
}

impl Session {
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Makes one step. Returns how many bytes at the front of `input` are used up, and the result.
    pub(super) fn step(
        &mut self,
        input: &mut [u8],
        output: &mut Output<'_, '_, '_, '_>,
    ) -> (usize, Result<Progress, Error>) {
        match self {
            Self::Client(connection) => handle(connection.process_tls_records(input), output),
            Self::Server(connection) => handle(connection.process_tls_records(input), output),
        }
    }
}

fn handle<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    output: &mut Output<'_, '_, '_, '_>,
) -> (usize, Result<Progress, Error>) {
    let mut used = status.discard;
    let progress = status.state.and_then(|state| match state {
        ConnectionState::ReadTraffic(traffic) => read(traffic, output, &mut used),
        ConnectionState::EncodeTlsData(data) => encode(data, output.outgoing),
        // Records leave `outgoing` in the order they were made, so rustls need not wait until they are sent.
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Progress::Advanced)
        }
        ConnectionState::WriteTraffic(traffic) => write(traffic, output),
        ConnectionState::PeerClosed => Ok(Progress::PeerClosed),
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Progress::Idle),
        // Early data is neither offered nor accepted.
        _ => Err(Error::General("unexpected TLS state".to_owned())),
    });
    (used, progress)
}

fn read<Side>(
    mut traffic: ReadTraffic<'_, '_, Side>,
    output: &mut Output<'_, '_, '_, '_>,
    used: &mut usize,
) -> Result<Progress, Error> {
    while let Some(record) = traffic.next_record() {
        let record = record?;
        let mut payload = record.payload;
        // Bytes stay in order: while some are pending, new ones queue behind them.
        if output.plain.is_empty()
            && let Some(reader) = &mut output.reader
        {
            let (now, later) = payload.split_at(payload.len().min(reader.remaining()));
            reader.put_slice(now);
            payload = later;
        }
        output.plain.push(payload);
        *used += record.discard;
    }
    Ok(Progress::Advanced)
}

fn encode<Side>(mut data: EncodeTlsData<'_, Side>, outgoing: &mut PendingBytes) -> Result<Progress, Error> {
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(need)) => need.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(Progress::Advanced),
    };
    match data.encode(outgoing.grow(size)) {
        Ok(_) => Ok(Progress::Advanced),
        Err(error) => Err(Error::General(error.to_string())),
    }
}

fn write<Side>(
    mut traffic: WriteTraffic<'_, Side>,
    output: &mut Output<'_, '_, '_, '_>,
) -> Result<Progress, Error> {
    let general = |error: &dyn std::fmt::Display| Error::General(error.to_string());
    match output.operation {
        Operation::Nothing => {}
        Operation::Encrypt { plain, into, written } => {
            *written = traffic.encrypt(plain, into).map_err(|e| general(&e))?;
        }
        Operation::CloseNotify => {
            let mut alert = [0; MAX_CLOSE_NOTIFY];
            let n = traffic.queue_close_notify(&mut alert).map_err(|e| general(&e))?;
            output.outgoing.push(&alert[..n]);
        }
    }
    Ok(Progress::Idle)
}

/// A key update and an alert, encrypted, are about 60 bytes.
const MAX_CLOSE_NOTIFY: usize = 256;
