//! How does a proxied connection run, and what is told of it?

use std::{
    fmt,
    os::fd::AsFd,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Broken, Count, Leg, end_orderly, errno, transfer};
use crate::{
    balance::Picked,
    capture::tcp_info,
    metrics::OpenConn,
    splice::{Hop, JointHandle, Way},
};

/// A stream over a TCP connection.
pub trait Carried: AsyncRead + AsyncWrite + Unpin {
    /// The connection beneath.
    fn tcp(&self) -> &TcpStream;
}

impl Carried for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Carried for crate::detect::Prefixed<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

impl<IO: Carried> Carried for crate::tls::TlsStream<IO> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().tcp()
    }
}

/// The counters of a connection's two legs; on the same-node path each leg is counted for both workloads.
#[derive(Default)]
pub struct Legs {
    /// Of the connection that was accepted.
    pub source: Vec<OpenConn>,
    /// Of the connection that was opened.
    pub destination: Vec<OpenConn>,
    /// Told when the destination speaks before the source does.
    pub first_word: FirstWord,
    /// The kernel may move bytes by itself.
    pub joint: Option<JointHandle>,
    /// The way to an application of this node is short.
    pub hop: Option<Hop>,
    /// Counts as a connection of the endpoint that was picked.
    pub picked: Option<Picked>,
}

/// Somebody who wants to know whether the destination speaks first, and how long after the connection was made.
#[derive(Default)]
pub struct FirstWord(Option<Box<dyn Fn(Duration) + Send + Sync>>);

impl FirstWord {
    /// Tells `told`.
    pub fn tell(told: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        FirstWord(Some(Box::new(told)))
    }
}

impl fmt::Debug for FirstWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FirstWord").field(&self.0.is_some()).finish()
    }
}

struct Counted<'a> {
    legs: &'a Legs,
    started: Instant,
    /// Milliseconds after `started` of the last byte.
    active: AtomicU64,
    watched: bool,
    /// Somebody has spoken.
    spoken: AtomicBool,
}

impl Count for Counted<'_> {
    fn forward(&self, read: usize, written: usize) {
        self.spoken.store(true, Ordering::Relaxed);
        self.legs.source.iter().for_each(|leg| leg.read(read as u64));
        self.legs.destination.iter().for_each(|leg| leg.wrote(written as u64));
        self.relayed(Way::Forward, written);
        self.touch();
    }

    fn backward(&self, read: usize, written: usize) {
        if let Some(told) = &self.legs.first_word.0
            && read > 0
            && !self.spoken.swap(true, Ordering::Relaxed)
        {
            told(self.started.elapsed());
        }
        self.legs.destination.iter().for_each(|leg| leg.read(read as u64));
        self.legs.source.iter().for_each(|leg| leg.wrote(written as u64));
        self.relayed(Way::Backward, written);
        self.touch();
    }
}

impl Counted<'_> {
    fn relayed(&self, way: Way, written: usize) {
        if let Some(joint) = &self.legs.joint
            && written > 0
        {
            joint.relayed(way, written);
        }
    }

    fn touch(&self) {
        if self.watched {
            self.active.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// Resolves when no byte has moved for `limit`.
    async fn idle(&self, limit: Duration) {
        if !self.watched {
            return std::future::pending().await;
        }
        // The kernel does not tell when it moves bytes: looked for more often, it is noticed soon enough.
        let step = if self.legs.joint.is_some() { limit / 8 } else { limit };
        loop {
            if self.legs.joint.as_ref().is_some_and(|joint| joint.account() > 0) {
                self.touch();
            }
            let active = Duration::from_millis(self.active.load(Ordering::Relaxed));
            let still = self.started.elapsed().saturating_sub(active);
            match limit.checked_sub(still) {
                // Boxed: most connections may be idle for ever.
                Some(rest) if !rest.is_zero() => Box::pin(tokio::time::sleep(rest.min(step))).await,
                _ => return,
            }
        }
    }
}

/// A connection that runs. Boxed: what it took to get there takes no room while it lasts.
pub type Relay = Pin<Box<dyn Future<Output = End> + Send>>;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// Both sides had said all.
    Closed,
    /// One side broke off; the other was reset.
    Broken(Broken),
    /// Nothing was said for too long; both were reset.
    Idle(Duration),
    /// It may not go on; both were reset.
    Revoked,
    /// The pod that it led to is gone; both were reset.
    Departed,
}

/// Moves bytes until the connection ends. A side that breaks off, a long silence (`idle`; zero: any is fine) or what
/// `over` says resets what is left: both sides are to end by reset already ([`super::end_by_reset`]; the accepted one
/// by its listener, the opened one by the stock), until all has gone well.
pub fn relay<S: Carried + Send + 'static, D: Carried + Send + 'static>(
    mut source: S,
    mut destination: D,
    legs: Legs,
    idle: Duration,
    over: impl Future<Output = End> + Send + 'static,
) -> Relay {
    Box::pin(async move {
        measure(&source, &legs.source);
        measure(&destination, &legs.destination);
        let counted = Counted {
            legs: &legs,
            started: Instant::now(),
            active: AtomicU64::new(0),
            watched: !idle.is_zero(),
            spoken: AtomicBool::new(false),
        };
        let end = tokio::select! {
            result = transfer(&mut source, &mut destination, &counted) => match result {
                Ok(()) => End::Closed,
                Err(broken) => End::Broken(broken),
            },
            () = counted.idle(idle) => End::Idle(idle),
            end = over => end,
        };
        if let Some(joint) = &legs.joint {
            joint.end();
        }
        for (retransmits, legs) in [
            (measure(&source, &legs.source), &legs.source),
            (measure(&destination, &legs.destination), &legs.destination),
        ] {
            legs.iter().for_each(|leg| leg.retransmits(retransmits.into()));
        }
        let (mut at_source, mut at_destination) = (None, None);
        match &end {
            End::Closed => {
                end_orderly(source.tcp());
                end_orderly(destination.tcp());
            }
            End::Broken(Broken { leg, error }) => match leg {
                Leg::Source => at_source = Some(errno(error)),
                Leg::Destination => at_destination = Some(errno(error)),
            },
            End::Idle(_) => {
                (at_source, at_destination) = (Some("ETIMEDOUT"), Some("ETIMEDOUT"));
            }
            End::Revoked => {
                (at_source, at_destination) = (Some("EACCES"), Some("EACCES"));
            }
            End::Departed => {
                (at_source, at_destination) = (Some("ECONNABORTED"), Some("ECONNABORTED"));
            }
        }
        legs.source.into_iter().for_each(|leg| leg.close(at_source));
        legs.destination.into_iter().for_each(|leg| leg.close(at_destination));
        end
    })
}

/// Tells the legs the connection's round-trip time; how many segments the kernel has sent again so far. Within a pod
/// nobody wants to know.
fn measure(stream: &impl Carried, legs: &[OpenConn]) -> u32 {
    if !legs.iter().any(OpenConn::is_on_the_wire) {
        return 0;
    }
    let Some((rtt, retransmits)) = tcp_info(&stream.tcp().as_fd()) else { return 0 };
    if !rtt.is_zero() {
        legs.iter().for_each(|leg| leg.rtt(rtt));
    }
    retransmits
}
