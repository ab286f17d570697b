//! Lists the objects of one kind, then watches them, and starts again after every failure.
//!
//! This does what `kube::runtime::watcher` does, with two differences that operators need: bookmarks count as signs of
//! life, and a watch that is connected again shows at once, even if nothing changes.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::{
    Client,
    api::{ListParams, ObjectList, WatchEvent, WatchParams},
    core::Request,
};
use tokio::{sync::mpsc, time::timeout};

use super::{arrival::Arrival, backoff::Backoff, decode::Decoder, failure::Failure, resource::Resource};
use crate::{
    metrics::WatchMetrics,
    model::{Event, Kind},
};

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How long one page of a list may take, and the start of a watch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The API server ends a watch after a random time in this range (in seconds), so that not all start again at once. It
/// is short because a connection that died unnoticed shows only then.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 60..=90;
/// How much later than that the end may arrive.
const GRACE: Duration = Duration::from_secs(10);
/// A watch that ends earlier than this counts as a failure.
const SHORT: Duration = Duration::from_secs(1);
/// How often a kind that the cluster does not have is looked for.
const ABSENT_INTERVAL: Duration = Duration::from_secs(5);

/// What a watch tells the source.
#[derive(Debug)]
pub(super) enum Message {
    /// All objects of the kind; the last event is `Synced`.
    List {
        kind: Kind,
        events: Vec<Event>,
    },
    Change(Event),
}

pub(super) struct Watch<T> {
    kind: Kind,
    resource: Resource,
    client: Client,
    sender: mpsc::Sender<Message>,
    metrics: WatchMetrics,
    is_metadata: bool,
    decoder: Decoder<T>,
    has_listed: bool,
    failing: Option<Failing>,
}

/// A series of failures.
struct Failing {
    since: Instant,
    text: String,
}

/// The receiver is gone: the control plane stops.
struct Stopped;

impl<T: Arrival> Watch<T> {
    pub(super) fn new(
        kind: Kind,
        client: Client,
        sender: mpsc::Sender<Message>,
        metrics: WatchMetrics,
    ) -> Self {
        Self {
            kind,
            resource: Resource::of(kind),
            client,
            sender,
            metrics,
            is_metadata: false,
            decoder: Decoder::new(kind),
            has_listed: false,
            failing: None,
        }
    }

    /// Asks the API server for metadata only.
    pub(super) fn of_metadata(mut self) -> Self {
        self.is_metadata = true;
        self
    }

    /// Runs until the receiver is gone.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let result = match self.list().await {
                Ok((version, events)) => {
                    backoff.reset();
                    self.has_listed = true;
                    self.follow(version, events).await
                }
                Err(failure) => self.not_listed(&failure, &mut backoff).await,
            };
            if let Err(Stopped) = result {
                return;
            }
        }
    }

    /// All objects, with the version from which to watch.
    async fn list(&mut self) -> Result<(String, Vec<Event>), Failure> {
        let mut params = ListParams::default().limit(PAGE);
        let mut events = Vec::new();
        loop {
            let request = match self.is_metadata {
                true => self.request().list_metadata(&params),
                false => self.request().list(&params),
            };
            let request = request.map_err(kube::Error::BuildRequest)?;
            let answer = timeout(ANSWER_TIMEOUT, self.client.request::<ObjectList<T>>(request)).await;
            let page = answer.map_err(|_| Failure::timeout("list"))??;
            self.metrics.heard();
            events.extend(
                page.items.into_iter().filter_map(|item| self.decoder.decode(item)).map(Event::Applied),
            );
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.decoder.listed(&events);
                events.push(Event::Synced(self.kind));
                self.metrics.listed();
                return Ok((page.metadata.resource_version.unwrap_or_default(), events));
            }
        }
    }

    /// Passes a list on, then watches from its version until a new list is necessary.
    async fn follow(&mut self, mut version: String, events: Vec<Event>) -> Result<(), Stopped> {
        self.send(Message::List { kind: self.kind, events }).await?;
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            match self.watch_once(&mut version).await? {
                Ok(()) if started.elapsed() >= SHORT => backoff.reset(),
                Ok(()) => backoff.wait().await,
                Err(failure) => {
                    self.failed(&failure);
                    // A server that no longer has the version is back: the pauses were for one that was away.
                    if started.elapsed() >= SHORT || failure.is_gone() {
                        backoff.reset();
                    }
                    backoff.wait().await;
                    if failure.is_gone() || failure.is_absent() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Watches until the API server ends the watch.
    async fn watch_once(&mut self, version: &mut String) -> Result<Result<(), Failure>, Stopped> {
        let seconds = rand::random_range(WATCH_SECONDS);
        let params = WatchParams::default().timeout(seconds);
        let request = match self.is_metadata {
            true => self.request().watch_metadata(&params, version),
            false => self.request().watch(&params, version),
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(Err(kube::Error::BuildRequest(error).into())),
        };
        let stream = match timeout(ANSWER_TIMEOUT, self.client.request_events::<T>(request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ok(Err(error.into())),
            Err(_) => return Ok(Err(Failure::timeout("watch"))),
        };
        self.connected();
        let mut stream = std::pin::pin!(stream);
        let silence = Duration::from_secs(seconds.into()) + GRACE;
        loop {
            let event = match timeout(silence, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(None) => return Ok(Ok(())),
                Ok(Some(Err(error))) => return Ok(Err(error.into())),
                Err(_) => return Ok(Err(Failure::timeout("watch"))),
            };
            self.metrics.heard();
            match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    item.version().unwrap_or_default().clone_into(version);
                    if let Some(object) = self.decoder.decode(item) {
                        self.decoder.applied(&object);
                        self.send(Message::Change(Event::Applied(object))).await?;
                    }
                }
                WatchEvent::Deleted(item) => {
                    item.version().unwrap_or_default().clone_into(version);
                    let key = item.key(self.kind);
                    self.decoder.deleted(&key);
                    self.send(Message::Change(Event::Deleted(key))).await?;
                }
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => return Ok(Err(Failure::from(&*status))),
            }
        }
    }

    /// Handles a failed list.
    async fn not_listed(&mut self, failure: &Failure, backoff: &mut Backoff) -> Result<(), Stopped> {
        self.failed(failure);
        if failure.is_absent() {
            if !self.has_listed {
                // A kind that the cluster does not know has no objects, and does not keep others from being served.
                self.has_listed = true;
                self.send(Message::List { kind: self.kind, events: vec![Event::Synced(self.kind)] }).await?;
            }
            tokio::time::sleep(ABSENT_INTERVAL.mul_f64(rand::random_range(0.75..=1.25))).await;
        } else {
            backoff.wait().await;
        }
        Ok(())
    }

    fn connected(&mut self) {
        self.metrics.connected();
        if let Some(failing) = self.failing.take() {
            let after = humantime::format_duration(Duration::from_secs(failing.since.elapsed().as_secs()));
            tracing::info!(kind = %self.kind, %after, "the watch is connected again");
        }
    }

    /// Logs a failure, each text once until the watch is connected again.
    fn failed(&mut self, failure: &Failure) {
        self.metrics.failed();
        let text = failure.explain(&self.resource);
        let since = self.failing.as_ref().map_or_else(Instant::now, |failing| failing.since);
        let is_known = self.failing.as_ref().is_some_and(|failing| failing.text == text);
        match failure {
            // Usual after the API server's restart.
            Failure::Gone => tracing::info!(kind = %self.kind, reason = %failure, "{text}"),
            _ if is_known => tracing::debug!(kind = %self.kind, reason = %failure, "{text}"),
            _ => tracing::warn!(
                kind = %self.kind,
                reason = %failure,
                "cannot watch: {text}; the last known objects apply"
            ),
        }
        self.failing = Some(Failing { since, text });
    }

    fn request(&self) -> Request {
        Request::new(self.resource.path())
    }

    async fn send(&self, message: Message) -> Result<(), Stopped> {
        self.sender.send(message).await.map_err(|_| Stopped)
    }
}
