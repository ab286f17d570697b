//! What the clients counted, and what of it lies within a range of time.

/// A request, as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) client: &'static str,
    /// It was sent to the service, not to a pod.
    pub(super) by_service: bool,
    /// The pod that answered.
    pub(super) server: String,
    pub(super) failed: bool,
    /// When it ended, in Unix seconds.
    pub(super) at: f64,
    pub(super) ms: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) calls: Vec<Call>,
    /// When bytes were sent, and how many.
    pub(super) bytes: Vec<(f64, usize)>,
}

/// A range of time in Unix seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Which requests a figure is of.
pub(super) type Which<'a> = dyn Fn(&Call) -> bool + 'a;

impl Range {
    fn has(self, at: f64) -> bool {
        at > self.from && at <= self.to
    }

    fn seconds(self) -> f64 {
        self.to - self.from
    }
}

impl Counted {
    /// Requests in a minute, at the rate of a range.
    pub(super) fn requests(&self, which: &Which<'_>, range: Range) -> f64 {
        self.count(which, range) * 60.0 / range.seconds()
    }

    /// The share of requests of a range that did not fail.
    pub(super) fn success(&self, which: &Which<'_>, range: Range) -> f64 {
        1.0 - self.count(&|call| call.failed && which(call), range) / self.count(which, range).max(1.0)
    }

    /// The latency that this share of requests did not exceed.
    pub(super) fn quantile(&self, which: &Which<'_>, range: Range, share: f64) -> f64 {
        let mut all: Vec<f64> =
            self.calls.iter().filter(|call| range.has(call.at) && which(call)).map(|call| call.ms).collect();
        all.sort_by(f64::total_cmp);
        let rank = (share * all.len() as f64).ceil() as usize;
        all.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Bytes per second.
    pub(super) fn bytes(&self, range: Range) -> f64 {
        let bytes: usize = self.bytes.iter().filter(|(at, _)| range.has(*at)).map(|(_, count)| count).sum();
        bytes as f64 / range.seconds()
    }

    fn count(&self, which: &Which<'_>, range: Range) -> f64 {
        self.calls.iter().filter(|call| range.has(call.at) && which(call)).count() as f64
    }
}
