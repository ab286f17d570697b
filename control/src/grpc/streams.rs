//! How does a watch follow the index?
//!
//! Nothing is queued for a slow client: a watch looks at the newest snapshot when the client can take another message,
//! and says what changed since it looked last.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Code, Status};

use crate::{
    index::{Cluster, Index},
    metrics::{Call, Metrics},
};

/// Watches that may be open at once: two for each of 20 000 destinations on several nodes.
const MAX_STREAMS: usize = 200_000;

/// The messages of a watch.
pub(crate) type Stream<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// Opens watches on the index.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    index: Arc<Index>,
    metrics: Metrics,
    stopping: watch::Receiver<bool>,
    permits: Arc<Semaphore>,
}

struct Open<T, F> {
    cluster: watch::Receiver<Arc<Cluster>>,
    stopping: watch::Receiver<bool>,
    look: F,
    queue: VecDeque<T>,
    looked: bool,
    call: Call,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    pub(crate) fn new(index: Arc<Index>, metrics: Metrics, stopping: watch::Receiver<bool>) -> Self {
        Self { index, metrics, stopping, permits: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// The cluster as it is now.
    pub(crate) fn snapshot(&self) -> Arc<Cluster> {
        self.index.snapshot()
    }

    /// Counts a call that is answered with an error instead of a stream.
    pub(crate) fn refuse(&self, method: &'static str, status: Status) -> Status {
        self.metrics.call(method, false).code = status.code();
        status
    }

    /// A stream of what `look` has to say about each new state of the cluster.
    pub(crate) fn open<T, F>(&self, method: &'static str, look: F) -> Result<Stream<T>, Status>
    where
        T: Send + 'static,
        F: FnMut(&Arc<Cluster>) -> Vec<T> + Send + 'static,
    {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            let status = Status::resource_exhausted(format!("{MAX_STREAMS} streams are open already"));
            return Err(self.refuse(method, status));
        };
        let mut call = self.metrics.call(method, true);
        // The client going away ends a watch; that is what clients do when they have seen enough.
        call.code = Code::Cancelled;
        let open = Open {
            cluster: self.index.subscribe(),
            stopping: self.stopping.clone(),
            look,
            queue: VecDeque::new(),
            looked: false,
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
        if open.looked && !changed(&mut open).await {
            open.call.code = Code::Unavailable;
            return Some((Err(Status::unavailable("weft-control is stopping; connect again")), None));
        }
        open.looked = true;
        let cluster = open.cluster.borrow_and_update().clone();
        open.queue.extend((open.look)(&cluster));
    }
}

/// Waits for a new state; false if there will be none.
async fn changed<T, F>(open: &mut Open<T, F>) -> bool {
    let stopping = async {
        // An error means that nobody is left who could stop it, which is an end as well.
        let _ = open.stopping.wait_for(|stopping| *stopping).await;
    };
    tokio::select! {
        biased;
        () = stopping => false,
        changed = open.cluster.changed() => changed.is_ok(),
    }
}
