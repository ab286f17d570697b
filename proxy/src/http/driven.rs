//! A connection that is polled by whoever waits for what it brings, instead of by a task of its own.
//!
//! With a task for each connection, every request is handed to that task and every response back: the thread runs three
//! tasks where one does.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// A connection without a task. Dropped, it goes on until it has ended in order.
pub(super) struct Driven {
    /// `None`: it has ended, or a task runs it.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
}

/// Told when there is something to do for the connection.
struct Bell {
    state: AtomicU8,
    /// Who is woken then.
    task: Mutex<Waker>,
}

/// There is something to do.
const RUNG: u8 = 1;
/// The task looks after it at this moment, and need not be woken.
const ATTENDED: u8 = 2;

/// How often the connection is polled at most before others have their turn.
const MAX_TURNS: usize = 4;

impl Driven {
    pub(super) fn new(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(RUNG), task: Mutex::new(Waker::noop().clone()) });
        Self { connection: Some(Box::pin(connection)), waker: bell.clone().into(), bell }
    }

    /// Polls `wanted`, and the connection as long as that brings it about. The task of `cx` is woken when there is more
    /// to do.
    pub(super) fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(connection) = &mut self.connection else { return wanted(cx) };
        self.bell.attend(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        let mut result = wanted(&mut inner);
        for _ in 0..MAX_TURNS {
            if result.is_ready() || !self.bell.take() {
                break;
            }
            if connection.as_mut().poll(&mut inner).is_ready() {
                self.connection = None;
                return wanted(cx);
            }
            result = wanted(&mut inner);
        }
        if self.bell.leave() && result.is_pending() {
            cx.waker().wake_by_ref();
        }
        result
    }

    /// Does what concerns the connection but must not wake its task, which polls it right afterwards.
    pub(super) fn before_poll<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bell.state.fetch_or(ATTENDED, Ordering::AcqRel);
        let result = act();
        self.bell.leave();
        result
    }

    /// Polls the connection if there is something to do, such as the other side's close while it is idle.
    pub(super) fn tend(&mut self, cx: &mut Context<'_>) {
        if self.bell.state.load(Ordering::Acquire) & RUNG != 0 {
            let _ = self.poll_until(cx, |_| Poll::<()>::Pending);
        }
    }

    /// Gives it a task of its own.
    pub(super) fn detach(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(connection);
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // Nobody sends requests any more, so it closes, usually at once.
        if connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(connection);
        }
    }
}

impl Bell {
    /// `task` looks after the connection now, and is woken later.
    fn attend(&self, task: &Waker) {
        {
            let mut known = self.task.lock();
            if !known.will_wake(task) {
                known.clone_from(task);
            }
        }
        self.state.fetch_or(ATTENDED, Ordering::AcqRel);
    }

    /// Whether it has rung.
    fn take(&self) -> bool {
        self.state.fetch_and(!RUNG, Ordering::AcqRel) & RUNG != 0
    }

    /// Whether it has rung and is still to be answered.
    fn leave(&self) -> bool {
        self.state.fetch_and(!ATTENDED, Ordering::AcqRel) & RUNG != 0
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(RUNG, Ordering::AcqRel) & ATTENDED == 0 {
            self.task.lock().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicBool, AtomicUsize},
        time::Duration,
    };

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_polls_the_connection() {
        let (requests, mut received) = mpsc::unbounded_channel::<u32>();
        let (answers, mut answered) = mpsc::unbounded_channel::<u32>();
        let mut connection = Driven::new(async move {
            while let Some(request) = received.recv().await {
                // As if the answer came from elsewhere.
                tokio::time::sleep(Duration::from_millis(2)).await;
                if answers.send(request + 1).is_err() {
                    return;
                }
            }
        });
        for request in 0..20 {
            connection.before_poll(|| requests.send(request)).unwrap();
            let answer = poll_fn(|cx| connection.poll_until(cx, |cx| answered.poll_recv(cx))).await;
            assert_eq!(answer, Some(request + 1));
        }
        drop(requests);
        let end = poll_fn(|cx| connection.poll_until(cx, |cx| answered.poll_recv(cx))).await;
        assert_eq!(end, None, "the connection has ended");
    }

    #[tokio::test]
    async fn a_connection_that_is_never_done_lets_others_run() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let mut connection = Driven::new(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let forever = poll_fn(|cx| connection.poll_until(cx, |_| Poll::<()>::Pending));
        tokio::select! {
            () = forever => {}
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        assert!(polls.load(Ordering::Relaxed) > MAX_TURNS, "it is polled again after the others");
    }

    #[tokio::test]
    async fn a_dropped_connection_ends_in_order() {
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        let (requests, mut received) = mpsc::unbounded_channel::<u32>();
        let connection = Driven::new(async move {
            while received.recv().await.is_some() {}
            tokio::task::yield_now().await;
            told.store(true, Ordering::Relaxed);
        });
        drop(requests);
        drop(connection);
        while !ended.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_polled_when_something_has_happened() {
        let (close, closed) = tokio::sync::oneshot::channel::<()>();
        let mut connection = Driven::new(async move {
            let _ = closed.await;
        });
        let mut cx = Context::from_waker(Waker::noop());
        connection.tend(&mut cx);
        assert!(connection.connection.is_some());
        drop(close);
        connection.tend(&mut cx);
        assert!(connection.connection.is_none());
    }
}
