//! Copies bytes between two streams, in both directions, in one task.
//!
//! Bytes are read into a buffer that the thread owns and written at once, so an idle connection holds no buffer. Only
//! what the other side does not accept yet is kept, up to one buffer per direction: nothing more is read before it is
//! written (backpressure). A half-close is passed on as a half-close. Passing on an error, as a reset, is up to the
//! caller.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Peer;

/// Size of one read, and the most that is kept per direction.
const BUFFER: usize = 64 * 1024;
/// Reads before other tasks of the thread get their turn.
const TURNS: usize = 16;

thread_local! {
    static BUFFER_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// One of the two connections broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the {peer} broke: {error}")]
pub struct Broken {
    pub peer: Peer,
    pub error: io::Error,
}

/// Watches a copy; called on the hot path.
pub trait Observer {
    /// Bytes were read from `from`.
    fn read(&self, from: Peer, bytes: usize);
    /// Bytes that `from` sent were written to the other side.
    fn written(&self, from: Peer, bytes: usize);
}

/// Copies both ways until both directions have ended or one connection breaks.
///
/// When writing to a connection fails, what its peer had sent before is delivered first.
///
/// # Errors
/// The connection that broke first.
pub async fn copy<S, D>(source: &mut S, destination: &mut D, observer: &impl Observer) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: AsyncRead + AsyncWrite + Unpin,
{
    let mut forward = Flow::from(Peer::Src);
    let mut backward = Flow::from(Peer::Dst);
    poll_fn(|cx| {
        let there = forward.poll(cx, source, destination, backward.failed.is_some(), observer);
        let back = backward.poll(cx, destination, source, forward.failed.is_some(), observer);
        match (there, back) {
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(Broken { peer: Peer::Src, error })),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Broken { peer: Peer::Dst, error })),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                Poll::Ready(if let Some(error) = forward.failed.take() {
                    Err(Broken { peer: Peer::Dst, error })
                } else if let Some(error) = backward.failed.take() {
                    Err(Broken { peer: Peer::Src, error })
                } else {
                    Ok(())
                })
            }
            _ => Poll::Pending,
        }
    })
    .await
}

/// One direction.
struct Flow {
    from: Peer,
    /// Read, but not accepted by the writer: `pending[at..]`.
    pending: Vec<u8>,
    at: usize,
    phase: Phase,
    unflushed: bool,
    /// The writer accepts no more. What its peer sends is still delivered: it may have sent it before.
    failed: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Moving,
    Closing,
    Done,
}

enum Stop {
    Read(io::Error),
    Write(io::Error),
}

impl Flow {
    fn from(peer: Peer) -> Self {
        // Either side may have been handed over with bytes to flush.
        Self { from: peer, pending: Vec::new(), at: 0, phase: Phase::Moving, unflushed: true, failed: None }
    }

    /// Ready when this direction is over, with the reader's error if that is why; a writer's is kept in `failed`.
    /// `cut`: writing to the reader has failed, so its end of file is not an orderly one and is not passed on as such
    /// (the kernel reports a reset once only: whoever reads second sees an end of file).
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        cut: bool,
        observer: &impl Observer,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.phase == Phase::Moving {
            match ready!(self.poll_move(cx, reader, writer, observer)) {
                Ok(()) if cut => self.phase = Phase::Done,
                Ok(()) => self.phase = Phase::Closing,
                Err(Stop::Read(error)) => return Poll::Ready(Err(error)),
                Err(Stop::Write(error)) => self.fail(error),
            }
        }
        if self.phase == Phase::Closing {
            match ready!(Pin::new(writer).poll_shutdown(cx)) {
                Ok(()) => self.phase = Phase::Done,
                Err(error) => self.fail(error),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: io::Error) {
        self.failed = Some(error);
        self.phase = Phase::Done;
    }

    /// Ready(Ok) at the reader's end.
    fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        observer: &impl Observer,
    ) -> Poll<Result<(), Stop>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        ready!(self.poll_pending(cx, writer, observer))?;
        for _ in 0..TURNS {
            let read = BUFFER_OF_THREAD.with_borrow_mut(|buffer_of_thread| {
                let mut buffer = ReadBuf::new(buffer_of_thread);
                ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer)).map_err(Stop::Read)?;
                let bytes = buffer.filled();
                observer.read(self.from, bytes.len());
                Poll::Ready(self.write(cx, writer, bytes, observer).map(|()| bytes.len()))
            });
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => ready!(self.poll_pending(cx, writer, observer))?,
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(stop)),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(writer).poll_flush(cx)).map_err(Stop::Write)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what the writer accepts at once and keeps the rest.
    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        mut bytes: &[u8],
        observer: &impl Observer,
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            match Pin::new(&mut *writer).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(Stop::Write(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    observer.written(self.from, written);
                    self.unflushed = true;
                    bytes = &bytes[written..];
                }
                Poll::Ready(Err(error)) => return Err(Stop::Write(error)),
                Poll::Pending => {
                    self.pending = bytes.to_vec();
                    self.at = 0;
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll_pending<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        observer: &impl Observer,
    ) -> Poll<Result<(), Stop>> {
        while self.at < self.pending.len() {
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, &self.pending[self.at..]))
                .map_err(Stop::Write)?;
            if written == 0 {
                return Poll::Ready(Err(Stop::Write(io::ErrorKind::WriteZero.into())));
            }
            observer.written(self.from, written);
            self.unflushed = true;
            self.at += written;
        }
        if self.at > 0 {
            self.pending = Vec::new();
            self.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}
