//! The stream of a tap's events, as its client reads it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use weft_api::{
    linkerd::tap::{TapEvent, tap_event::RouteMeta},
    tap,
};

use super::{Taps, open_tap::Tap};

/// How often the client is told of events that were kept back.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a tap that takes no more requests waits for the responses of those that it shows.
const LINGER: Duration = Duration::from_secs(10);

/// Dropped, the tap ends.
pub(super) struct Events {
    taps: Arc<Taps>,
    tap: Arc<Tap>,
    queue: mpsc::Receiver<TapEvent>,
    tell: Interval,
    end: Pin<Box<dyn Future<Output = End> + Send>>,
    ended: bool,
}

/// Why a stream ends although requests may go on.
enum End {
    Retired,
    Draining,
}

impl Events {
    pub(super) fn new(
        taps: Arc<Taps>,
        tap: Arc<Tap>,
        queue: mpsc::Receiver<TapEvent>,
        draining: CancellationToken,
    ) -> Self {
        let mut tell = interval(TELL_INTERVAL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let retired = tap.retired.clone();
        let end = Box::pin(async move {
            let lingered = async {
                retired.cancelled().await;
                tokio::time::sleep(LINGER).await;
            };
            tokio::select! {
                () = draining.cancelled() => End::Draining,
                () = lingered => End::Retired,
            }
        });
        Self { taps, tap, queue, tell, end, ended: false }
    }

    /// An event that says how many were kept back, if there were any.
    fn dropped(&self) -> Option<TapEvent> {
        let dropped = self.tap.untold.swap(0, Ordering::Relaxed);
        let labels = || HashMap::from([(tap::DROPPED.to_owned(), dropped.to_string())]);
        (dropped > 0)
            .then(|| TapEvent { route_meta: Some(RouteMeta { labels: labels() }), ..TapEvent::default() })
    }

    /// Whether the tap takes no more requests and all that it shows have ended.
    fn is_complete(&self) -> bool {
        // This stream holds one reference.
        self.tap.retired.is_cancelled() && Arc::strong_count(&self.tap) == 1
    }
}

impl Stream for Events {
    type Item = Result<TapEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(Some(event)) = self.queue.poll_recv(cx) {
            return Poll::Ready(Some(Ok(event)));
        }
        if self.is_complete() {
            // One that was added after the look above.
            if let Poll::Ready(Some(event)) = self.queue.poll_recv(cx) {
                return Poll::Ready(Some(Ok(event)));
            }
            self.ended = true;
            return Poll::Ready(self.dropped().map(Ok));
        }
        if let Poll::Ready(end) = self.end.as_mut().poll(cx) {
            self.ended = true;
            return Poll::Ready(match end {
                End::Retired => None,
                End::Draining => Some(Err(Status::unavailable("the proxy ends; open the tap again"))),
            });
        }
        while self.tell.poll_tick(cx).is_ready() {
            if let Some(event) = self.dropped() {
                return Poll::Ready(Some(Ok(event)));
            }
        }
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.taps.remove(self.tap.id);
    }
}
