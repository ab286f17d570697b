//! Attempts to open a connection that failed: what all who waited learn, and a bound for those who wait next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::upstream::ConnectError;

/// How long a failure is remembered: Linkerd's failfast time.
const REMEMBERED: Duration = Duration::from_secs(3);

/// The failures of one endpoint, as one workload meets them.
#[derive(Default)]
pub(super) struct Failures {
    last: Mutex<Last>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Last {
    /// How often attempts failed.
    count: u64,
    /// The last one, unless another attempt has succeeded since.
    failure: Option<(Arc<ConnectError>, Instant)>,
}

/// A request that waits for a connection; it does until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Failures {
    /// A place for a request that waits for a connection. `None`: the last attempt has failed, and `most` wait already.
    pub(super) fn wait(&self, most: usize) -> Option<Place<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Dropped if there is no room.
        let place = Place(&self.waiting);
        (before < most || !self.is_failing(Instant::now())).then_some(place)
    }

    /// How often attempts have failed so far.
    pub(super) fn count(&self) -> u64 {
        self.last.lock().count
    }

    /// The failure of an attempt that was made since `count` was read.
    pub(super) fn since(&self, count: u64) -> Option<Arc<ConnectError>> {
        let last = self.last.lock();
        last.failure.as_ref().filter(|_| last.count > count).map(|(failure, _)| failure.clone())
    }

    /// Remembers that an attempt has failed. Returns its failure, which others share.
    pub(super) fn add(&self, failure: ConnectError) -> ConnectError {
        let failure = Arc::new(failure);
        let mut last = self.last.lock();
        last.count += 1;
        last.failure = Some((failure.clone(), Instant::now()));
        ConnectError::Shared(failure)
    }

    /// An attempt has succeeded.
    pub(super) fn end(&self) {
        self.last.lock().failure = None;
    }

    /// Whether the last attempt has failed, a short time ago.
    pub(super) fn is_failing(&self, now: Instant) -> bool {
        let last = self.last.lock();
        last.failure.as_ref().is_some_and(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(failures: &Failures) {
        assert!(failures.add(ConnectError::NoCertificate).is_final(), "it is what the attempt has met");
    }

    #[test]
    fn those_who_waited_during_an_attempt_learn_how_it_failed() {
        let failures = Failures::default();
        let before = failures.count();
        assert!(failures.since(before).is_none());
        fail(&failures);
        assert!(failures.since(before).is_some());
        assert!(failures.since(failures.count()).is_none(), "who comes later makes an attempt");
    }

    #[test]
    fn the_number_of_those_who_wait_is_bounded_after_a_failure_only() {
        let failures = Failures::default();
        let burst: Vec<_> = std::iter::from_fn(|| failures.wait(2)).take(10).collect();
        assert_eq!(burst.len(), 10);
        drop(burst);
        fail(&failures);
        let waiting: Vec<_> = std::iter::from_fn(|| failures.wait(2)).take(10).collect();
        assert_eq!(waiting.len(), 2);
        failures.end();
        assert!(failures.wait(2).is_some());
    }
}
