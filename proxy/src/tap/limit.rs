//! Bounds the requests of a tap: so many per second, or so many in all.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const SECOND: Duration = Duration::from_secs(1);

/// How many requests a tap may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// In each second.
    PerSecond(u32),
    /// In all; then the tap ends.
    InAll(u32),
}

/// What a tap has shown of its bound.
#[derive(Debug)]
pub(super) struct Limit {
    bound: Bound,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    since: Instant,
    requests: u32,
}

/// Whether a request may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Show,
    /// It is the last one of the tap.
    ShowLast,
    Keep,
}

impl Limit {
    pub(super) fn new(bound: Bound, now: Instant) -> Self {
        Self { bound, used: Mutex::new(Used { since: now, requests: 0 }) }
    }

    pub(super) fn take(&self, now: Instant) -> Verdict {
        let mut used = self.used.lock();
        let most = match self.bound {
            Bound::PerSecond(most) => {
                if now.saturating_duration_since(used.since) >= SECOND {
                    *used = Used { since: now, requests: 0 };
                }
                most
            }
            Bound::InAll(most) => most,
        };
        if used.requests >= most {
            return Verdict::Keep;
        }
        used.requests += 1;
        match self.bound {
            Bound::InAll(most) if used.requests == most => Verdict::ShowLast,
            _ => Verdict::Show,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_begins_anew_each_second() {
        let start = Instant::now();
        let limit = Limit::new(Bound::PerSecond(2), start);
        let at = |ms| limit.take(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(500), at(999)], [Verdict::Show, Verdict::Show, Verdict::Keep]);
        assert_eq!([at(1000), at(1999), at(1999)], [Verdict::Show, Verdict::Show, Verdict::Keep]);
    }

    #[test]
    fn a_number_of_requests_ends_with_the_last_one() {
        let start = Instant::now();
        let limit = Limit::new(Bound::InAll(2), start);
        let later = start + Duration::from_secs(60);
        assert_eq!(
            [limit.take(start), limit.take(later), limit.take(later)],
            [Verdict::Show, Verdict::ShowLast, Verdict::Keep]
        );
    }
}
