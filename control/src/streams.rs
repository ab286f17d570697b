//! Streams of messages that follow the index.
//!
//! A stream is woken only if something has changed that it is about. Nothing is queued for a slow client: when the
//! client can take another message, the stream compares the newest snapshot with what it has sent so far.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{
    index::{Cluster, Index, Subscription, Topic},
    metrics::{Call, Metrics},
    readiness::Readiness,
};

/// Streams that may be open at the same time: three for each of 20 000 destinations on five nodes.
const MAX_STREAMS: usize = 300_000;

pub(crate) type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// Opens streams.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    index: Arc<Index>,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    stop: CancellationToken,
    permits: Arc<Semaphore>,
}

struct Open<T, F> {
    index: Arc<Index>,
    subscription: Subscription,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
    update: F,
    queue: VecDeque<T>,
    is_first: bool,
    call: Call,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    pub(crate) fn new(
        index: Arc<Index>,
        readiness: Arc<Readiness>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        Self { index, readiness, metrics, stop, permits: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    pub(crate) fn snapshot(&self) -> Arc<Cluster> {
        self.index.snapshot()
    }

    /// Counts a call that is answered with one message.
    pub(crate) fn answered(&self, method: &'static str) {
        drop(self.metrics.call(method, false));
    }

    /// Counts a call that is answered with an error instead of a stream.
    pub(crate) fn refuse(&self, method: &'static str, status: Status) -> Status {
        self.metrics.call(method, false).code = status.code();
        status
    }

    /// A stream of the messages that `update` returns for the cluster as it is now, and whenever a topic has changed.
    /// Refused while this replica is not ready.
    pub(crate) fn open<T, F>(
        &self,
        method: &'static str,
        topics: Vec<Topic>,
        update: F,
    ) -> Result<Stream<T>, Status>
    where
        T: Send + 'static,
        F: FnMut(&Arc<Cluster>) -> Vec<T> + Send + 'static,
    {
        self.readiness.check().map_err(|status| self.refuse(method, status))?;
        self.open_early(method, topics, update)
    }

    /// The same, but open at once: the first message comes when this replica is ready.
    pub(crate) fn open_early<T, F>(
        &self,
        method: &'static str,
        topics: Vec<Topic>,
        update: F,
    ) -> Result<Stream<T>, Status>
    where
        T: Send + 'static,
        F: FnMut(&Arc<Cluster>) -> Vec<T> + Send + 'static,
    {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            let status = Status::resource_exhausted(format!("the limit of {MAX_STREAMS} streams is reached"));
            return Err(self.refuse(method, status));
        };
        let mut call = self.metrics.call(method, true);
        // A stream normally ends because the client closes it.
        call.code = Code::Cancelled;
        let open = Open {
            index: self.index.clone(),
            subscription: self.index.subscribe_to(topics),
            ready: self.readiness.subscribe(),
            stop: self.stop.clone(),
            update,
            queue: VecDeque::new(),
            is_first: true,
            call,
            _permit: permit,
        };
        Ok(Box::pin(stream::unfold(Some(open), |open| async { next(open?).await })))
    }
}

async fn next<T, F>(mut open: Open<T, F>) -> Option<(Result<T, Status>, Option<Open<T, F>>)>
where
    F: FnMut(&Arc<Cluster>) -> Vec<T>,
{
    loop {
        if let Some(message) = open.queue.pop_front() {
            return Some((Ok(message), Some(open)));
        }
        let goes_on = match open.is_first {
            true => is_ready(&mut open).await,
            false => changed(&open.stop, &open.subscription).await,
        };
        if !goes_on {
            open.call.code = Code::Unavailable;
            return Some((Err(Status::unavailable("weft-control is stopping; connect again")), None));
        }
        open.is_first = false;
        let cluster = open.index.snapshot();
        open.queue.extend((open.update)(&cluster));
    }
}

/// Waits until this replica is ready. False if it stops before.
async fn is_ready<T, F>(open: &mut Open<T, F>) -> bool {
    tokio::select! {
        biased;
        () = open.stop.cancelled() => false,
        ready = open.ready.wait_for(|ready| *ready) => ready.is_ok(),
    }
}

/// Waits for a change. False if there will be none.
async fn changed(stop: &CancellationToken, subscription: &Subscription) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = subscription.changed() => true,
    }
}
