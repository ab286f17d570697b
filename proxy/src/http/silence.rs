//! Notices that the other side of a connection has disappeared without a word: what was sent is not acknowledged.
//!
//! TCP itself goes on for a quarter of an hour. TCP_USER_TIMEOUT would end it earlier, but also where a reader pauses
//! for as long (tcp_probe_timer(), Linux 6.1). A reader that pauses acknowledges, and the kernel tells when it was heard
//! last.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::capture::unacknowledged_for;

/// How often to look within the timeout.
const LOOKS: u32 = 4;

/// Watches one connection.
pub(super) struct SilenceWatch {
    interval: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// How often in succession something waited, and nothing had been heard since the look before.
    silent: u32,
}

impl SilenceWatch {
    /// `None`: silence has no limit.
    pub(super) fn new(timeout: Duration) -> Option<Self> {
        let interval = timeout / LOOKS;
        (!interval.is_zero()).then_some(Self { interval, timer: None, silent: 0 })
    }

    /// Ready when the other side is silent. To be polled when there is nothing to be read.
    pub(super) fn poll(&mut self, connection: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_with(cx, || unacknowledged_for(connection))
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, look: impl Fn() -> Option<Duration>) -> Poll<()> {
        let interval = self.interval;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(interval)));
        while timer.as_mut().poll(cx).is_ready() {
            let is_silent = look().is_some_and(|unheard| unheard >= interval);
            self.silent = if is_silent { self.silent + 1 } else { 0 };
            // The first look may have come right after something was sent.
            if self.silent > LOOKS {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + interval);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(40);

    /// Whether a connection is given up within a while, by what is seen at each look, in milliseconds.
    async fn is_given_up(seen: impl Fn(u32) -> Option<u64>) -> bool {
        let mut watch = SilenceWatch::new(TIMEOUT).unwrap();
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            seen(looks.get()).map(Duration::from_millis)
        };
        timeout(20 * TIMEOUT, poll_fn(|cx| watch.poll_with(cx, look))).await.is_ok()
    }

    #[tokio::test]
    async fn only_a_side_from_which_nothing_is_heard_is_given_up() {
        assert!(is_given_up(|look| Some(u64::from(look) * 10)).await);
        assert!(!is_given_up(|_| None).await, "nothing waits");
        assert!(!is_given_up(|_| Some(9)).await, "it is heard again and again");
        assert!(!is_given_up(|look| (look % 5 > 0).then_some(50)).await, "what waited has arrived");
    }

    #[tokio::test]
    async fn a_reader_that_pauses_is_no_silent_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _server = listener.accept().await.unwrap();
        let endless = async { while client.write_all(&[0; 65_536]).await.is_ok() {} };
        assert!(timeout(Duration::from_millis(500), endless).await.is_err(), "the window is open");
        let mut watch = SilenceWatch::new(Duration::from_millis(80)).unwrap();
        let silent = poll_fn(|cx| watch.poll(&client, cx));
        assert!(timeout(Duration::from_secs(2), silent).await.is_err());
    }
}
