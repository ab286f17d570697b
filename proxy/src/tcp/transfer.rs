//! How do bytes get from one connection to another and back?
//!
//! Both directions in one task. Bytes are read into a buffer that the thread owns and written at once, so an
//! idle connection holds none; only what the other side does not take yet is kept, up to one buffer a direction
//! (backpressure: nothing more is read before it is gone). A half-close is passed on as a half-close. An error
//! is the caller's to pass on, as a reset.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One read; what may be kept of it.
const BUFFER: usize = 64 * 1024;
/// Reads before other tasks of the thread get their turn.
const TURNS: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// One of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leg {
    /// To who opened the connection.
    Source,
    /// To whom it is for.
    Destination,
}

/// A leg broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the {leg:?} broke: {error}")]
pub struct Broken {
    /// Which.
    pub leg: Leg,
    /// How.
    pub error: io::Error,
}

/// Told of every byte that has been taken from one side and given to the other.
pub trait Count {
    /// Bytes from source to destination: read, or written.
    fn forward(&self, read: usize, written: usize);
    /// Bytes from destination to source: read, or written.
    fn backward(&self, read: usize, written: usize);
}

/// Moves bytes both ways until both directions have ended, or a leg breaks.
///
/// When writing to a leg fails, what that side had still sent is delivered first.
///
/// # Errors
/// The first leg that broke.
pub async fn transfer<S, D>(source: &mut S, destination: &mut D, count: &impl Count) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: AsyncRead + AsyncWrite + Unpin,
{
    // Both may have been left with something to send.
    let mut forward = Flow { unflushed: true, ..Flow::default() };
    let mut backward = Flow { unflushed: true, ..Flow::default() };
    poll_fn(|cx| {
        let there =
            forward.poll(cx, source, destination, backward.failed.is_some(), |r, w| count.forward(r, w));
        let back =
            backward.poll(cx, destination, source, forward.failed.is_some(), |r, w| count.backward(r, w));
        match (there, back) {
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(Broken { leg: Leg::Source, error })),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Broken { leg: Leg::Destination, error })),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                Poll::Ready(if let Some(error) = forward.failed.take() {
                    Err(Broken { leg: Leg::Destination, error })
                } else if let Some(error) = backward.failed.take() {
                    Err(Broken { leg: Leg::Source, error })
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
#[derive(Default)]
struct Flow {
    /// Read but not taken by the writer: `kept[at..]`.
    kept: Vec<u8>,
    at: usize,
    phase: Phase,
    unflushed: bool,
    /// The writer takes no more. What it says itself is still worth hearing: it may have spoken before.
    failed: Option<io::Error>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Phase {
    #[default]
    Moving,
    Closing,
    Done,
}

enum Stop {
    Read(io::Error),
    Write(io::Error),
}

impl Flow {
    /// Ready when this direction is over, with the reader's error if that is why; a writer's is kept in `failed`.
    /// `cut`: the reader takes no more itself, so its end is no orderly one and not passed on as such (the
    /// kernel tells of a reset once only: whoever comes second sees an end of file).
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        cut: bool,
        count: impl Fn(usize, usize),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.phase == Phase::Moving {
            match ready!(self.poll_move(cx, reader, writer, &count)) {
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
        count: &impl Fn(usize, usize),
    ) -> Poll<Result<(), Stop>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        ready!(self.poll_kept(cx, writer, count))?;
        for _ in 0..TURNS {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer)).map_err(Stop::Read)?;
                let bytes = buffer.filled();
                count(bytes.len(), 0);
                Poll::Ready(self.write(cx, writer, bytes, count).map(|()| bytes.len()))
            });
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => ready!(self.poll_kept(cx, writer, count))?,
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

    /// Writes what the writer takes at once and keeps the rest.
    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        mut bytes: &[u8],
        count: &impl Fn(usize, usize),
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            match Pin::new(&mut *writer).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(Stop::Write(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    count(0, written);
                    self.unflushed = true;
                    bytes = &bytes[written..];
                }
                Poll::Ready(Err(error)) => return Err(Stop::Write(error)),
                Poll::Pending => {
                    self.kept = bytes.to_vec();
                    self.at = 0;
                    break;
                }
            }
        }
        Ok(())
    }

    fn poll_kept<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        count: &impl Fn(usize, usize),
    ) -> Poll<Result<(), Stop>> {
        while self.at < self.kept.len() {
            let written =
                ready!(Pin::new(&mut *writer).poll_write(cx, &self.kept[self.at..])).map_err(Stop::Write)?;
            if written == 0 {
                return Poll::Ready(Err(Stop::Write(io::ErrorKind::WriteZero.into())));
            }
            count(0, written);
            self.unflushed = true;
            self.at += written;
        }
        if self.at > 0 {
            self.kept = Vec::new();
            self.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}
