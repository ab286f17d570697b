//! Notices that the other side of an HTTP/2 connection has gone silent while requests wait for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use super::super::activity::Activity;

/// Sends a PING after a while without a byte from the other side, and waits for one then.
pub(super) struct KeepAlive {
    ping_pong: Option<PingPong>,
    activity: Arc<Activity>,
    /// How often the other side had sent something when that was looked at.
    heard: u32,
    interval: Duration,
    timeout: Duration,
    /// `None`: no request waits.
    timer: Option<Pin<Box<Sleep>>>,
    pinged: bool,
}

impl KeepAlive {
    pub(super) fn new(
        ping_pong: Option<PingPong>,
        activity: Arc<Activity>,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        Self { ping_pong, activity, heard: 0, interval, timeout, timer: None, pinged: false }
    }

    /// Ready when the other side does not answer any more. `busy`: requests wait for it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, busy: bool) -> Poll<()> {
        let Some(ping_pong) = &mut self.ping_pong else { return Poll::Pending };
        if self.pinged && ping_pong.poll_pong(cx).is_ready() {
            self.pinged = false;
        }
        if self.timer.is_none() && busy {
            self.timer = Some(Box::pin(sleep(self.interval)));
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let heard = self.activity.heard();
            if std::mem::replace(&mut self.heard, heard) != heard {
                // The time of silence may have begun at any moment since the timer was set.
                timer.as_mut().reset(Instant::now() + self.interval);
            } else if self.pinged {
                return Poll::Ready(());
            } else if ping_pong.send_ping(Ping::opaque()).is_ok() {
                self.pinged = true;
                timer.as_mut().reset(Instant::now() + self.timeout);
                let _ = ping_pong.poll_pong(cx);
            } else {
                self.timer = None;
            }
            if !busy && !self.pinged {
                self.timer = None;
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use tokio::io::DuplexStream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    /// A connection that has one request, which nobody answers, and what came first: its end or the end of a while.
    async fn is_given_up(io: DuplexStream, activity: Arc<Activity>) -> bool {
        let (mut sender, mut connection) =
            h2::client::Builder::new().handshake::<_, Bytes>(io).await.unwrap();
        let mut keep_alive = KeepAlive::new(connection.ping_pong(), activity, SHORT, SHORT * 10);
        let (response, _) = sender.send_request(http::Request::new(()), true).unwrap();
        let given_up = poll_fn(|cx| {
            let _ = Pin::new(&mut connection).poll(cx);
            keep_alive.poll(cx, true)
        });
        tokio::select! {
            () = given_up => true,
            _ = response => panic!("an answer"),
            () = sleep(SHORT * 50) => false,
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        let (near, _far) = tokio::io::duplex(1 << 16);
        assert!(is_given_up(near, Arc::default()).await);
    }

    #[tokio::test]
    async fn a_server_that_answers_pings_is_waited_for() {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let mut requests = Vec::new();
            while let Some(request) = connection.accept().await {
                requests.push(request.unwrap());
            }
        });
        // Only its answers to PING count as a sign of life here.
        assert!(!is_given_up(near, Arc::default()).await);
    }

    #[tokio::test]
    async fn nothing_happens_while_no_request_waits() {
        let (near, _far) = tokio::io::duplex(1 << 16);
        let (_sender, mut connection) = h2::client::Builder::new().handshake::<_, Bytes>(near).await.unwrap();
        let mut keep_alive = KeepAlive::new(connection.ping_pong(), Arc::default(), SHORT, SHORT);
        poll_fn(|cx| {
            assert!(keep_alive.poll(cx, false).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(keep_alive.timer.is_none());
    }
}
