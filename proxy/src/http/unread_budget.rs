//! Bounds what the HTTP/2 streams of a workload hold while nobody reads it.
//!
//! A stream whose reader pauses fills its own window, and blocks no other stream. But a client can have thousands of
//! them. So what waits is counted several times per second. When a workload is above its budget, the streams that have
//! gone unread for longest are reset.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::warn;

use super::{
    error::UNREAD,
    served_stream::{ServedStream, Streams, Unread},
};
use crate::{metrics::Metrics, net::Direction, workload::Workload};

/// How often it is looked whether a workload may be near its budget, and then, how often what waits is counted.
const INTERVAL: Duration = Duration::from_millis(250);
const SHORT_INTERVAL: Duration = Duration::from_millis(50);

/// The budgets of all workloads.
pub(super) struct UnreadBudget {
    /// Bytes that may wait on the streams of one workload.
    limit: usize,
    metrics: Metrics,
    accepted: Mutex<Vec<Accepted>>,
    since: Instant,
}

/// An HTTP/2 connection that was accepted.
#[derive(Clone)]
struct Accepted {
    streams: Weak<Streams>,
    workload: Arc<Workload>,
    direction: Direction,
    peer: SocketAddr,
}

/// A stream on which something waits.
struct Waiting<'a> {
    stream: Arc<ServedStream>,
    unread: Unread,
    on: &'a Accepted,
}

impl UnreadBudget {
    pub(super) fn new(limit: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limit, metrics, accepted: Mutex::default(), since: Instant::now() })
    }

    /// Counts the streams of a connection, until it ends.
    pub(super) fn watch(
        &self,
        streams: &Arc<Streams>,
        workload: &Arc<Workload>,
        direction: Direction,
        peer: SocketAddr,
    ) {
        let (streams, workload) = (Arc::downgrade(streams), workload.clone());
        self.accepted.lock().push(Accepted { streams, workload, direction, peer });
    }

    /// The connections that are open, by workload.
    fn by_workload(&self) -> HashMap<u64, Vec<(Arc<Streams>, Accepted)>> {
        let mut open: HashMap<u64, Vec<_>> = HashMap::new();
        self.accepted.lock().retain(|accepted| {
            let Some(streams) = accepted.streams.upgrade() else { return false };
            open.entry(accepted.workload.netns.cookie()).or_default().push((streams, accepted.clone()));
            true
        });
        open
    }

    /// Counts and resets; returns when to do so again.
    fn check(&self) -> Duration {
        let mut again = INTERVAL;
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        for connections in self.by_workload().values() {
            let streams: usize = connections.iter().map(|(streams, _)| streams.len()).sum();
            // Most workloads are far below. It is known from a part of the budget on which streams are read.
            if streams * ServedStream::MOST > self.limit / 2 {
                self.check_workload(connections, now);
                again = SHORT_INTERVAL;
            }
        }
        again
    }

    fn check_workload(&self, connections: &[(Arc<Streams>, Accepted)], now: u64) {
        let mut waiting = Vec::new();
        for (streams, on) in connections {
            waiting.extend(streams.open().into_iter().filter_map(|stream| {
                let unread = stream.unread(now);
                (unread.bytes > 0).then_some(Waiting { stream, unread, on })
            }));
        }
        let mut by_peer: HashMap<SocketAddr, (&Accepted, u32)> = HashMap::new();
        for reset in above(self.limit, &mut waiting, |waiting| waiting.unread) {
            reset.stream.reset();
            self.metrics.http_error(reset.on.direction, &reset.on.workload.labels, UNREAD);
            by_peer.entry(reset.on.peer).or_insert((reset.on, 0)).1 += 1;
        }
        for (peer, (Accepted { workload, direction, .. }, streams)) in by_peer {
            if workload.log_limiter.allow(UNREAD) {
                let limit = self.limit;
                warn!(workload = %workload.key, %direction, %peer, streams, limit, reason = UNREAD, "more than the limit waits to be read; the streams that were not read for longest are reset");
            }
        }
    }
}

/// Those that are to be reset, so that the others are below the limit: first those that were not read for longest.
fn above<T>(limit: usize, waiting: &mut [T], unread: impl Fn(&T) -> Unread) -> &[T] {
    let mut left: usize = waiting.iter().map(|waiting| unread(waiting).bytes).sum();
    if left <= limit {
        return &[];
    }
    waiting.sort_by_key(|waiting| unread(waiting).read_at);
    let enough = waiting.iter().position(|waiting| {
        let is_enough = left <= limit;
        left = left.saturating_sub(unread(waiting).bytes);
        is_enough
    });
    &waiting[..enough.unwrap_or(waiting.len())]
}

/// Counts and resets, until the budgets are dropped.
pub(super) async fn enforce(budget: Weak<UnreadBudget>) {
    let mut pause = INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let Some(budget) = budget.upgrade() else { return };
        pause = budget.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_that_were_not_read_for_longest_are_reset_until_the_rest_is_below_the_limit() {
        let waiting =
            || [(10, 3), (10, 1), (10, 4), (10, 2)].map(|(bytes, read_at)| Unread { bytes, read_at });
        let reset = |limit| {
            let mut waiting = waiting();
            let reset = above(limit, &mut waiting, |unread| *unread);
            reset.iter().map(|unread| unread.read_at).collect::<Vec<_>>()
        };
        assert_eq!(reset(40), Vec::<u64>::new());
        assert_eq!(reset(39), [1]);
        assert_eq!(reset(20), [1, 2]);
        assert_eq!(reset(5), [1, 2, 3, 4]);
    }
}
