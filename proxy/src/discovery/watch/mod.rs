//! Watches a destination at the control plane, across errors and restarts.

mod endpoints;
mod profile;
mod protocol;

use std::time::Duration;

use tonic::{Status, Streaming};

pub(super) use self::profile::watch_profile;
use super::published::Published;
use crate::net::Backoff;

/// A stream whose first message must arrive in time. Later messages have no time limit.
struct WatchStream<T> {
    stream: Result<Streaming<T>, Status>,
    first: Option<Duration>,
}

impl<T> WatchStream<T> {
    /// `limit` is that of the call, and again of its first message.
    async fn open(limit: Duration, call: impl Future<Output = Result<Streaming<T>, Status>>) -> Self {
        let stream = match tokio::time::timeout(limit, call).await {
            Ok(stream) => stream,
            Err(_) => Err(Status::deadline_exceeded("the call was not answered in time")),
        };
        Self { stream, first: Some(limit) }
    }

    async fn next(&mut self) -> Result<T, Status> {
        let stream = self.stream.as_mut().map_err(|status| status.clone())?;
        let message = match self.first.take() {
            None => stream.message().await,
            Some(limit) => tokio::time::timeout(limit, stream.message())
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no message in time"))),
        };
        message?.ok_or_else(|| Status::unavailable("the control plane ended the stream"))
    }
}

/// Pauses before the next call. A connection that waits for the first answer cuts the pause short, but not below the
/// minimum.
async fn pause(backoff: &mut Backoff, published: &Published) {
    let pause = backoff.next_pause();
    let min_pause = pause.min(backoff.min());
    let mut requested = std::pin::pin!(published.reconnect_requested());
    // Takes notifications from now on, not only after the first poll.
    requested.as_mut().enable();
    tokio::time::sleep(min_pause).await;
    tokio::select! {
        () = tokio::time::sleep(pause - min_pause) => {}
        () = requested, if !published.has_answer() => {}
    }
}
