//! One tap that is open.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_api::linkerd::tap::TapEvent;

use super::{
    limit::Limit,
    matching::{Call, Head, Matcher, Subject},
    metrics::Counts,
};
use crate::{net::Direction, workload::Key};

/// Request, response and end.
pub(super) const EVENTS_PER_REQUEST: u64 = 3;

/// One open tap. Requests that it shows hold it until they have ended.
pub(super) struct Tap {
    pub(super) id: u64,
    pub(super) workloads: HashSet<Key>,
    pub(super) direction: Option<Direction>,
    pub(super) matcher: Matcher,
    /// The headers that are left out; `None`: headers are not wanted.
    pub(super) ignored_headers: Option<HashSet<HeaderName>>,
    pub(super) limit: Limit,
    pub(super) queue: mpsc::Sender<TapEvent>,
    /// Events that were kept back and that the reader has not been told of.
    pub(super) untold: AtomicU64,
    /// Cancelled when it takes no more requests.
    pub(super) retired: CancellationToken,
    pub(super) counts: Arc<Counts>,
}

impl Tap {
    pub(super) fn wants(&self, call: &Call<'_>, head: &Head<'_>) -> bool {
        self.direction.is_none_or(|direction| direction == call.direction)
            && self.workloads.contains(&call.workload.key)
            && !call.workload.config.borrow().tap_disabled
            && self.matcher.matches(&Subject {
                source: call.source,
                destination: call.destination,
                labels: call.labels,
                head,
            })
    }

    /// Puts an event into the queue. False if there is no room.
    pub(super) fn send(&self, event: TapEvent) -> bool {
        let sent = self.queue.try_send(event).is_ok();
        if sent {
            self.counts.events.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Counts events that found no room in the queue.
    pub(super) fn lose(&self, events: u64) {
        self.untold.fetch_add(events, Ordering::Relaxed);
        self.counts.queue_full.fetch_add(events, Ordering::Relaxed);
    }
}
