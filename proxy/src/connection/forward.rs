//! Forwards bytes between two connections until they are closed, idle for too long, or not allowed any more.

use std::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{
    balance::Picked,
    metrics::Metered,
    net::{Broken, Observer, OverTcp, Peer, copy, end_orderly, errno},
    splice::{LocalSpliceGuard, RemoteSplice},
};

/// A connection that is forwarded. Boxed: what it took to get there takes no room while it lasts.
pub(super) type Forwarding = Pin<Box<dyn Future<Output = CloseReason> + Send>>;

/// What goes with a connection while it is forwarded.
pub(super) struct Session {
    /// Zero: the connection may be idle for ever.
    idle_timeout: Duration,
    pub(super) server_first: Option<ServerFirstObserver>,
    /// The kernel may move bytes from application to application.
    pub(super) local_splice: Option<LocalSpliceGuard>,
    /// The kernel may move bytes between the application and the proxy.
    pub(super) remote_splice: Option<RemoteSplice>,
    /// Counts as load of its endpoint.
    pub(super) picked: Option<Picked>,
}

/// Told when the destination sends before the source does, and how long after the start.
pub(super) struct ServerFirstObserver(Box<dyn Fn(Duration) + Send + Sync>);

/// How a connection ended. In all cases but the first, what is left is reset.
#[derive(Debug)]
pub(super) enum CloseReason {
    /// Both sides have sent all they wanted.
    Closed,
    Broken(Broken),
    Idle(Duration),
    PolicyRevoked,
    /// The pod of the destination has gone away.
    PodTerminated,
}

impl Session {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, server_first: None, local_splice: None, remote_splice: None, picked: None }
    }
}

impl ServerFirstObserver {
    pub(super) fn new(observer: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Box::new(observer))
    }
}

/// Copies bytes until the connection ends by itself, or by `ended`.
///
/// Both connections must be set to end by a reset ([`crate::net::end_by_reset`]: accepted ones inherit it from their
/// listener, opened ones from the socket pool); only an orderly end changes that.
pub(super) fn forward<S, D>(
    mut source: Metered<S>,
    mut destination: Metered<D>,
    session: Session,
    ended: impl Future<Output = CloseReason> + Send + 'static,
) -> Forwarding
where
    S: OverTcp + Send + 'static,
    D: OverTcp + Send + 'static,
{
    Box::pin(async move {
        let activity = Activity::new(&session);
        let reason = tokio::select! {
            result = copy(&mut source, &mut destination, &activity) => match result {
                Ok(()) => CloseReason::Closed,
                Err(broken) => CloseReason::Broken(broken),
            },
            () = activity.idle() => CloseReason::Idle(session.idle_timeout),
            reason = ended => reason,
        };
        // Before the sockets are closed.
        if let Some(splice) = &session.local_splice {
            splice.end();
        }
        let [at_source, at_destination] = reason.errnos();
        source.finish(at_source);
        destination.finish(at_destination);
        if matches!(reason, CloseReason::Closed) {
            end_orderly(source.tcp());
            end_orderly(destination.tcp());
        }
        reason
    })
}

impl CloseReason {
    /// For the metrics of the source's and the destination's connection.
    fn errnos(&self) -> [Option<&'static str>; 2] {
        match self {
            Self::Closed => [None, None],
            Self::Broken(Broken { peer: Peer::Src, error }) => [Some(errno(error)), None],
            Self::Broken(Broken { peer: Peer::Dst, error }) => [None, Some(errno(error))],
            Self::Idle(_) => [Some("ETIMEDOUT"); 2],
            Self::PolicyRevoked => [Some("EACCES"); 2],
            Self::PodTerminated => [Some("ECONNABORTED"); 2],
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Broken(broken) => broken.fmt(f),
            Self::Idle(limit) => write!(f, "idle for {limit:?}"),
            Self::PolicyRevoked => f.write_str("the policy has changed"),
            Self::PodTerminated => f.write_str("the destination's pod has gone away"),
        }
    }
}

/// Watches a copy for those who want to know what happens on it.
struct Activity<'a> {
    session: &'a Session,
    started: Instant,
    /// Milliseconds after `started` of the last byte.
    last: AtomicU64,
    server_may_be_first: AtomicBool,
}

impl<'a> Activity<'a> {
    fn new(session: &'a Session) -> Self {
        let server_may_be_first = AtomicBool::new(session.server_first.is_some());
        Self { session, started: Instant::now(), last: AtomicU64::new(0), server_may_be_first }
    }

    fn touch(&self) {
        if !self.session.idle_timeout.is_zero() {
            self.last.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// Resolves when no byte has moved for the idle timeout.
    async fn idle(&self) {
        let limit = self.session.idle_timeout;
        if limit.is_zero() {
            return std::future::pending().await;
        }
        // The kernel does not say when it moves bytes: its counters are read more often than the timeout.
        let step = if self.session.local_splice.is_some() { limit / 8 } else { limit };
        loop {
            if self.session.local_splice.as_ref().is_some_and(|splice| splice.account() > 0) {
                self.touch();
            }
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let still = self.started.elapsed().saturating_sub(last);
            match limit.checked_sub(still) {
                // Boxed: most connections have no idle timeout.
                Some(rest) if !rest.is_zero() => Box::pin(tokio::time::sleep(rest.min(step))).await,
                _ => return,
            }
        }
    }
}

impl Observer for Activity<'_> {
    fn read(&self, from: Peer, bytes: usize) {
        if self.server_may_be_first.load(Ordering::Relaxed) {
            self.server_may_be_first.store(false, Ordering::Relaxed);
            if let Some(ServerFirstObserver(observer)) = &self.session.server_first
                && from == Peer::Dst
                && bytes > 0
            {
                observer(self.started.elapsed());
            }
        }
        self.touch();
    }

    fn written(&self, from: Peer, bytes: usize) {
        if let Some(splice) = &self.session.local_splice {
            splice.relayed(from, bytes);
        }
        self.touch();
    }
}
