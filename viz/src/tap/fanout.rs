//! Opens taps: a stream to the proxy of each node, merged into one.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{future::BoxFuture, stream::BoxStream};
use http::HeaderName;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use weft_api::viz::{ErrorCode, Failure, SkippedPod, TapEvent, TapEventKind, TapMessage, TapQuery};
use weft_control::index::Cluster;

use super::{
    Credentials, MAX_TAPS, Proxies,
    node::{Context, News, NodeTap, Wanted},
    request::Question,
    select::{Targets, select},
    shares::{differs, shares},
    translate::{Told, translate},
};
use crate::taps::Taps;

/// Events that wait for the reader.
const MAX_WAITING: usize = 1_000;
/// Events of all nodes that wait to be merged.
const MAX_NEWS: usize = 256;
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// How often the pods are selected again if something in the cluster changed, and the rate divided again.
const REVIEW_INTERVAL: Duration = Duration::from_secs(2);
/// Nodes that have not accepted the tap after this time are reported as skipped.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
const EVENTS_PER_REQUEST: u64 = 3;
/// Requests of which the events are left out.
const MAX_LEFT_OUT: usize = 10_000;

/// What taps need.
#[derive(Debug)]
pub struct FanOutConfig {
    pub cluster: watch::Receiver<Arc<Cluster>>,
    pub proxies: Proxies,
    pub proxy_identity: String,
    pub credentials: Arc<Credentials>,
    pub ignore_headers: Vec<HeaderName>,
}

/// Opens taps by asking the proxies.
pub struct FanOut {
    context: Arc<Context>,
    ignore_headers: Arc<[HeaderName]>,
    permits: Arc<Semaphore>,
}

impl FanOut {
    pub fn new(config: FanOutConfig) -> Self {
        let FanOutConfig { cluster, proxies, proxy_identity, credentials, ignore_headers } = config;
        Self {
            context: Arc::new(Context { proxies, proxy_identity, credentials, cluster }),
            ignore_headers: ignore_headers.into(),
            permits: Arc::new(Semaphore::new(MAX_TAPS)),
        }
    }

    fn open_taps(&self) -> usize {
        MAX_TAPS - self.permits.available_permits()
    }

    fn begin(&self, query: TapQuery) -> Result<BoxStream<'static, TapMessage>, Failure> {
        let question = Question::of(&query, &self.ignore_headers)?;
        let targets = select(&self.context.cluster.borrow(), &query)?;
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            let text = format!("{MAX_TAPS} taps are open already");
            Failure::new(ErrorCode::TooManyTaps, text).hint("Close one, for example a page of the dashboard")
        })?;
        let (messages, stream) = mpsc::channel(4);
        let merge = Merge::new(self.context.clone(), query, question, messages, permit);
        // Ends when the stream is dropped.
        tokio::spawn(merge.run(targets));
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Taps for FanOut {
    fn open(
        &self,
        _: &str,
        query: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>> {
        let begun = self.begin(query);
        Box::pin(async move { begun })
    }
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut").field("open", &self.open_taps()).finish_non_exhaustive()
    }
}

/// One node of a tap.
struct Node {
    wanted: watch::Sender<Wanted>,
    /// `None`: the proxy has accepted the tap. Else why not.
    lost: Option<String>,
    /// Requests that it has shown, and events that it has kept back, since the last review.
    shown: u64,
    dropped: u64,
    _task: AbortOnDropHandle<()>,
}

/// Merges the streams of one tap.
struct Merge {
    context: Arc<Context>,
    query: TapQuery,
    question: Arc<Question>,
    messages: mpsc::Sender<TapMessage>,
    nodes: BTreeMap<String, Node>,
    skipped: Vec<SkippedPod>,
    waiting: Vec<TapEvent>,
    dropped: u64,
    budget: Budget,
    /// Requests that were over the limit: their responses are left out, too.
    left_out: HashSet<String>,
    /// What the reader was told last.
    told: Option<TapMessage>,
    news: mpsc::Sender<(String, News)>,
    _permit: OwnedSemaphorePermit,
}

/// The limit over all nodes.
struct Budget {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Merge {
    fn new(
        context: Arc<Context>,
        query: TapQuery,
        question: Question,
        messages: mpsc::Sender<TapMessage>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let budget = Budget::new(question.max_rps, Instant::now());
        // Replaced when it runs.
        let (news, _) = mpsc::channel(1);
        Self {
            context,
            query,
            question: Arc::new(question),
            messages,
            nodes: BTreeMap::new(),
            skipped: Vec::new(),
            waiting: Vec::new(),
            dropped: 0,
            budget,
            left_out: HashSet::new(),
            told: None,
            news,
            _permit: permit,
        }
    }

    /// Runs until the reader is gone.
    async fn run(mut self, targets: Targets) {
        let (sender, mut news) = mpsc::channel(MAX_NEWS);
        self.news = sender;
        let mut cluster = self.context.cluster.clone();
        self.retarget(targets);
        let begun = Instant::now();
        let mut flush = interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut review = interval(REVIEW_INTERVAL);
        review.set_missed_tick_behavior(MissedTickBehavior::Delay);
        review.reset();
        loop {
            tokio::select! {
                () = self.messages.closed() => return,
                Some((node, news)) = news.recv() => {
                    self.hear(&node, news, &cluster.borrow().clone());
                }
                _ = flush.tick() => {
                    if self.is_settled() || begun.elapsed() >= OPEN_TIMEOUT {
                        self.tell_start();
                    }
                    self.flush();
                }
                _ = review.tick() => {
                    if cluster.has_changed().unwrap_or(false) {
                        let snapshot = cluster.borrow_and_update().clone();
                        // Without pods the tap stays open: a rollout may make new ones.
                        let targets = select(&snapshot, &self.query).unwrap_or_else(|failure| Targets {
                            skipped: vec![SkippedPod { pod: self.query.name.clone(), reason: failure.message }],
                            ..Targets::default()
                        });
                        self.retarget(targets);
                    }
                    self.rebalance();
                }
            }
        }
    }

    /// Makes the nodes those of the pods.
    fn retarget(&mut self, targets: Targets) {
        self.skipped = targets.skipped;
        self.nodes.retain(|node, _| targets.by_node.contains_key(node));
        let count = targets.by_node.len();
        let even = shares(self.question.max_rps.ceil() as u32, &vec![0; count]);
        for ((name, pods), rps) in targets.by_node.into_iter().zip(even) {
            match self.nodes.get(&name) {
                Some(node) => {
                    node.wanted.send_if_modified(|wanted| {
                        let changed = wanted.pods != pods;
                        wanted.pods = pods;
                        changed
                    });
                }
                None => {
                    let (wanted, receiver) = watch::channel(Wanted { pods, rps });
                    let task = NodeTap {
                        node: name.clone(),
                        context: self.context.clone(),
                        question: self.question.clone(),
                        wanted: receiver,
                        news: self.news.clone(),
                    };
                    let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
                    let lost = Some(format!("the proxy of node {name} has not answered yet"));
                    self.nodes.insert(name, Node { wanted, lost, shown: 0, dropped: 0, _task: task });
                }
            }
        }
    }

    fn hear(&mut self, name: &str, news: News, cluster: &Cluster) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        match news {
            News::Open => node.lost = None,
            News::Lost(reason) => {
                tracing::debug!(node = name, reason, "a tap is interrupted");
                node.lost = Some(reason);
            }
            News::Event(event) => match translate(*event, cluster) {
                Told::Event(event) => {
                    node.shown += u64::from(matches!(event.event, TapEventKind::Request { .. }));
                    self.take(*event);
                }
                Told::Dropped(events) => {
                    node.dropped += events;
                    self.dropped += events;
                }
                Told::Nothing => {}
            },
        }
    }

    /// Takes an event of a node, if the limit over all nodes and the reader's speed allow it.
    fn take(&mut self, event: TapEvent) {
        let is_request = matches!(event.event, TapEventKind::Request { .. });
        if is_request {
            if !self.budget.take(Instant::now()) || self.waiting.len() >= MAX_WAITING {
                self.dropped += EVENTS_PER_REQUEST;
                if self.left_out.len() >= MAX_LEFT_OUT {
                    self.left_out.clear();
                }
                self.left_out.insert(event.id);
                return;
            }
        } else {
            let is_end = matches!(event.event, TapEventKind::End { .. });
            let left_out = match is_end {
                true => self.left_out.remove(&event.id),
                false => self.left_out.contains(&event.id),
            };
            if left_out {
                return;
            }
            if self.waiting.len() >= MAX_WAITING {
                self.dropped += 1;
                return;
            }
        }
        self.waiting.push(event);
    }

    /// Whether every node has accepted the tap.
    fn is_settled(&self) -> bool {
        self.nodes.values().all(|node| node.lost.is_none())
    }

    /// Says how many pods are tapped, when that is new.
    fn tell_start(&mut self) {
        let mut skipped = self.skipped.clone();
        let mut pods = 0;
        for node in self.nodes.values() {
            let wanted = node.wanted.borrow();
            match &node.lost {
                None => pods += wanted.pods.len(),
                Some(reason) => {
                    let skip = |pod: &weft_control::model::Name| SkippedPod {
                        pod: pod.to_string(),
                        reason: reason.clone(),
                    };
                    skipped.extend(wanted.pods.iter().map(skip));
                }
            }
        }
        let pods = u32::try_from(pods).unwrap_or(u32::MAX);
        let message = TapMessage::Started { pods, max_rps: self.question.max_rps, skipped };
        if self.told.as_ref() != Some(&message) && self.messages.try_send(message.clone()).is_ok() {
            self.told = Some(message);
        }
    }

    /// Sends what waits, if the reader is ready for it. `Started` comes first.
    fn flush(&mut self) {
        if self.told.is_none() {
            return;
        }
        if !self.waiting.is_empty()
            && let Ok(permit) = self.messages.try_reserve()
        {
            permit.send(TapMessage::Events { events: std::mem::take(&mut self.waiting) });
        }
        if self.dropped > 0
            && let Ok(permit) = self.messages.try_reserve()
        {
            permit.send(TapMessage::Dropped { events: std::mem::take(&mut self.dropped) });
        }
    }

    /// Divides the rate by what the nodes showed and kept back.
    fn rebalance(&mut self) {
        let seconds = REVIEW_INTERVAL.as_secs();
        let demand = |node: &Node| (node.shown + node.dropped / EVENTS_PER_REQUEST).div_ceil(seconds);
        let demands: Vec<u32> =
            self.nodes.values().map(|node| u32::try_from(demand(node)).unwrap_or(u32::MAX)).collect();
        let shares = shares(self.question.max_rps.ceil() as u32, &demands);
        for (node, share) in self.nodes.values_mut().zip(shares) {
            (node.shown, node.dropped) = (0, 0);
            node.wanted.send_if_modified(|wanted| {
                let worth_it = differs(wanted.rps, share);
                if worth_it {
                    wanted.rps = share;
                }
                worth_it
            });
        }
    }
}

impl Budget {
    /// Two seconds' requests may come at once: proxies count by the second, each by its own.
    const BURST_SECONDS: f64 = 2.0;

    fn new(rate: f64, now: Instant) -> Self {
        Self { rate, left: (rate * Self::BURST_SECONDS).max(1.0), at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let most = (self.rate * Self::BURST_SECONDS).max(1.0);
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        (self.left, self.at) = ((self.left + earned).min(most), now);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_over_all_nodes_holds_over_time() {
        let start = Instant::now();
        let mut budget = Budget::new(10.0, start);
        let mut taken = 0;
        for ms in 0..10_000 {
            taken += u32::from(budget.take(start + Duration::from_millis(ms)));
        }
        assert!((110..=121).contains(&taken), "{taken}");
        let mut slow = Budget::new(0.5, start);
        let at: Vec<u64> = (0..6).filter(|s| slow.take(start + Duration::from_secs(*s))).collect();
        assert_eq!(at, [0, 2, 4]);
    }
}
