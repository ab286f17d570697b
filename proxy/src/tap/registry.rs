//! The taps that are open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use http::Request;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weft_api::linkerd::tap::TapEvent;

use super::{
    limit::{Limit, Verdict},
    matching::{Call, Head},
    metrics::{Counts, TapCollector},
    observation::Observation,
    open_tap::{EVENTS_PER_REQUEST, Tap},
    request::Wanted,
};
use crate::metrics::Metrics;

/// Taps that may be open at the same time.
pub(super) const MAX_TAPS: usize = 32;
/// Events of a tap that wait for its reader.
pub(super) const MAX_QUEUE: usize = 1_000;

/// The open taps of the node. Each request is shown to them.
pub struct Taps {
    /// How many there are: all that a request looks at while there are none.
    active: AtomicUsize,
    open: ArcSwap<Vec<Arc<Tap>>>,
    /// Changes are made one after another.
    change: Mutex<()>,
    next_tap: AtomicU64,
    next_request: AtomicU64,
    /// Distinguishes the requests of this process from those of others.
    base: u32,
    pub(super) counts: Arc<Counts>,
}

impl Taps {
    pub fn new(metrics: &Metrics) -> Arc<Self> {
        let counts = Arc::<Counts>::default();
        metrics.register_collector(Box::new(TapCollector(counts.clone())));
        Arc::new(Self {
            active: AtomicUsize::new(0),
            open: ArcSwap::default(),
            change: Mutex::new(()),
            next_tap: AtomicU64::new(1),
            next_request: AtomicU64::new(0),
            base: rand::random(),
            counts,
        })
    }

    /// Shows a request to the taps. Returns an observation if one of them wants it, which is to be told of the response.
    pub fn see<B>(&self, call: &Call<'_>, request: &Request<B>, started: Instant) -> Option<Observation> {
        // Not even a tap that begins at this moment needs to see this request.
        if self.active.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.observe(call, request, started)
    }

    #[cold]
    fn observe<B>(&self, call: &Call<'_>, request: &Request<B>, started: Instant) -> Option<Observation> {
        let open = self.open.load();
        let head = Head::of(request);
        let mut taps: Vec<Arc<Tap>> = Vec::new();
        for tap in open.iter() {
            if !tap.wants(call, &head) {
                continue;
            }
            match tap.limit.take(started) {
                Verdict::Show => taps.push(tap.clone()),
                Verdict::ShowLast => {
                    taps.push(tap.clone());
                    self.remove(tap.id);
                }
                Verdict::Keep => {
                    tap.untold.fetch_add(EVENTS_PER_REQUEST, Ordering::Relaxed);
                    self.counts.over_limit.fetch_add(EVENTS_PER_REQUEST, Ordering::Relaxed);
                }
            }
        }
        if taps.is_empty() {
            return None;
        }
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        Observation::begin(call, &head, request.headers(), (self.base, id), started, taps)
    }

    /// Opens a tap. `None`: there are too many.
    pub(super) fn open(&self, wanted: Wanted) -> Option<(Arc<Tap>, mpsc::Receiver<TapEvent>)> {
        let _one_at_a_time = self.change.lock();
        let mut open = Vec::clone(&self.open.load());
        let (queue, events) = mpsc::channel(MAX_QUEUE);
        open.retain(|tap| {
            let stays = wanted.replaces != Some(tap.id);
            if !stays {
                tap.retired.cancel();
            }
            stays
        });
        if open.len() >= MAX_TAPS {
            return None;
        }
        let tap = Arc::new(Tap {
            id: self.next_tap.fetch_add(1, Ordering::Relaxed),
            workloads: wanted.workloads,
            direction: wanted.direction,
            matcher: wanted.matcher,
            ignored_headers: wanted.ignored_headers,
            limit: Limit::new(wanted.bound, Instant::now()),
            queue,
            untold: AtomicU64::new(0),
            retired: CancellationToken::new(),
            counts: self.counts.clone(),
        });
        open.push(tap.clone());
        self.publish(open);
        Some((tap, events))
    }

    /// The tap takes no more requests.
    pub(super) fn remove(&self, id: u64) {
        let _one_at_a_time = self.change.lock();
        let mut open = Vec::clone(&self.open.load());
        open.retain(|tap| {
            let stays = tap.id != id;
            if !stays {
                tap.retired.cancel();
            }
            stays
        });
        self.publish(open);
    }

    fn publish(&self, open: Vec<Arc<Tap>>) {
        let count = open.len();
        self.open.store(Arc::new(open));
        self.active.store(count, Ordering::Relaxed);
        self.counts.open.store(count as u64, Ordering::Relaxed);
    }
}
