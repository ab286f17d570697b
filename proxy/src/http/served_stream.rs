//! One stream of an HTTP/2 client while it is served: what waits on it to be read, and how it is ended from outside.

use std::{
    cmp,
    future::Future,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use h2::FlowControl;
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::settings::STREAM_WINDOW;

tokio::task_local! {
    /// The stream that this task serves.
    static CURRENT: Arc<ServedStream>;
}

/// How much has to be passed on before a stream counts as read again: a quarter of its window.
const PROGRESS: u64 = 16 * 1024;

/// One stream of an HTTP/2 client.
#[derive(Default)]
pub(super) struct ServedStream {
    /// The task that serves it.
    task: OnceLock<AbortHandle>,
    response: Way,
    request: Way,
    /// What the other side has sent of the response: h2 knows how much of it waits.
    arriving: Mutex<Option<FlowControl>>,
    /// What had been passed on when it last counted as read, and when that was.
    read: AtomicU64,
    read_at: AtomicU64,
    /// One more than what had been passed on when it was last looked at; zero before that.
    seen: AtomicU64,
    is_reset: AtomicBool,
    tunnel: TunnelTask,
}

/// The task that sends to the client of a tunnel. It ends in order when nobody gives it more to send.
#[derive(Clone, Debug, Default)]
pub(super) struct TunnelTask(Arc<OnceLock<AbortHandle>>);

/// One direction of a stream.
#[derive(Default)]
struct Way {
    /// The bytes of a part that its reader has been given, while it has not asked for the next one.
    part: AtomicUsize,
    /// Bytes that were passed on.
    passed: AtomicU64,
}

/// What waits on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) bytes: usize,
    /// When the stream was last read, in milliseconds.
    pub(super) read_at: u64,
}

/// The side of a request's reader, until it has read all or does not want the rest.
pub(super) struct RequestReader(Option<Arc<ServedStream>>);

/// The open streams of a connection.
#[derive(Default)]
pub(super) struct Streams(Mutex<Vec<Weak<ServedStream>>>);

/// Runs the tasks that serve the streams of a connection.
#[derive(Clone)]
pub(super) struct StreamTasks(pub(super) Arc<Streams>);

impl ServedStream {
    /// The most that can wait on a stream: its windows, and a part of each direction that was passed on.
    pub(super) const MOST: usize = 2 * (STREAM_WINDOW as usize + 16 * 1024);

    /// The stream that the calling task serves.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// For a tunnel on the stream that the calling task serves.
    pub(super) fn tunnel() -> TunnelTask {
        CURRENT.try_with(|stream| stream.tunnel.clone()).unwrap_or_default()
    }

    /// The response arrives at this window.
    pub(super) fn response_arrives(&self, window: FlowControl) {
        *self.arriving.lock() = Some(window);
    }

    /// The client has been given a part of the response.
    pub(super) fn response_part(&self, bytes: usize) {
        self.response.gives(bytes);
    }

    /// The client has room for more of the response.
    pub(super) fn response_is_wanted(&self) {
        self.response.is_wanted();
    }

    /// Nothing more of the response will come: the other side's stream can end. The last part may still wait.
    pub(super) fn response_ended(&self) {
        *self.arriving.lock() = None;
    }

    /// What waits on it at `now`, in milliseconds. To be asked regularly.
    pub(super) fn unread(&self, now: u64) -> Unread {
        if self.is_reset.load(Ordering::Relaxed) {
            return Unread { bytes: 0, read_at: now };
        }
        let passed = self.response.passed() + self.request.passed();
        let is_quiet = self.seen.swap(passed + 1, Ordering::Relaxed) == passed + 1;
        let arrived = self.arriving.lock().as_ref().map_or(0, FlowControl::used_capacity);
        let uploading = match self.request.part() {
            // What waits of a request is not known: at most its window.
            part if part > 0 && is_quiet => part + STREAM_WINDOW as usize,
            _ => 0,
        };
        let bytes = self.response.part() + arrived + uploading;
        let since = passed.saturating_sub(self.read.load(Ordering::Relaxed));
        let mut read_at = self.read_at.load(Ordering::Relaxed);
        if bytes == 0 || since >= PROGRESS || read_at == 0 {
            read_at = now;
            self.read.store(passed, Ordering::Relaxed);
            self.read_at.store(read_at, Ordering::Relaxed);
        }
        Unread { bytes, read_at }
    }

    /// Ends the stream: the client's is reset, and the application's too.
    pub(super) fn reset(&self) {
        self.is_reset.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl TunnelTask {
    /// Ends it with a reset of the client's stream.
    pub(super) fn reset(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

impl Way {
    fn gives(&self, bytes: usize) {
        self.part.store(cmp::max(bytes, 1), Ordering::Relaxed);
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn is_wanted(&self) {
        self.part.store(0, Ordering::Relaxed);
    }

    fn part(&self) -> usize {
        self.part.load(Ordering::Relaxed)
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

impl RequestReader {
    /// Of the request that the calling task serves, if that is one of HTTP/2; nothing of it was asked for yet.
    /// `complete`: there is nothing to be asked for.
    pub(super) fn current(complete: bool) -> Self {
        let stream = if complete { None } else { ServedStream::current() };
        let reader = Self(stream);
        reader.part(0);
        reader
    }

    /// It has been given a part.
    pub(super) fn part(&self, bytes: usize) {
        if let Some(stream) = &self.0 {
            stream.request.gives(bytes);
        }
    }

    /// It has room for more.
    pub(super) fn wants(&self) {
        if let Some(stream) = &self.0 {
            stream.request.is_wanted();
        }
    }

    /// It has read all.
    pub(super) fn is_done(&mut self) {
        self.wants();
        self.0 = None;
    }
}

impl Drop for RequestReader {
    fn drop(&mut self) {
        self.wants();
    }
}

impl Streams {
    /// One more stream, until it is dropped.
    fn begin(&self) -> Arc<ServedStream> {
        let stream = Arc::new(ServedStream::default());
        let mut streams = self.0.lock();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
            // As many again may come before the next look.
            let more = streams.len().max(4);
            streams.shrink_to(2 * more);
            streams.reserve(more);
        }
        streams.push(Arc::downgrade(&stream));
        stream
    }

    /// How many there are at most.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(super) fn open(&self) -> Vec<Arc<ServedStream>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl<F> Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, serving: F) {
        let stream = self.0.begin();
        let task = tokio::spawn(CURRENT.scope(stream.clone(), serving)).abort_handle();
        // hyper begins another task only for the tunnel of a stream that it serves.
        let _ = ServedStream::tunnel().0.set(task.clone());
        let _ = stream.task.set(task);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stream_that_is_read_slowly_counts_as_unread_since_it_was_read_well() {
        let stream = ServedStream::default();
        stream.response_part(20_000);
        assert_eq!(stream.unread(100), Unread { bytes: 20_000, read_at: 100 });
        stream.response_is_wanted();
        stream.response_part(1_000);
        assert_eq!(stream.unread(200), Unread { bytes: 1_000, read_at: 100 });
        stream.response_is_wanted();
        stream.response_part(16_000);
        assert_eq!(stream.unread(300), Unread { bytes: 16_000, read_at: 300 });
        stream.response_is_wanted();
        stream.response_ended();
        assert_eq!(stream.unread(400), Unread { bytes: 0, read_at: 400 });
    }

    #[test]
    fn a_request_counts_with_its_window_once_the_application_pauses() {
        let stream = Arc::new(ServedStream::default());
        let reader = RequestReader(Some(stream.clone()));
        reader.part(1_000);
        assert_eq!(stream.unread(1).bytes, 0, "it has moved a moment ago");
        assert_eq!(stream.unread(2).bytes, 1_000 + 65_535);
        reader.wants();
        assert_eq!(stream.unread(3).bytes, 0);
        reader.part(1_000);
        drop(reader);
        assert_eq!((stream.unread(4).bytes, stream.unread(5).bytes), (0, 0));
    }

    #[test]
    fn streams_that_have_ended_are_forgotten() {
        let streams = Streams::default();
        let open: Vec<_> = (0..10).map(|_| streams.begin()).collect();
        for _ in 0..10_000 {
            streams.begin();
        }
        assert_eq!(streams.open().len(), open.len());
        assert!(streams.len() <= 100, "{}", streams.len());
    }

    #[tokio::test]
    async fn a_task_knows_its_stream_and_is_ended_through_it() {
        let stream = Arc::new(ServedStream::default());
        let serving = async {
            let own = ServedStream::current().unwrap();
            own.response_part(7);
            std::future::pending::<()>().await;
        };
        let task = tokio::spawn(CURRENT.scope(stream.clone(), serving));
        stream.task.set(task.abort_handle()).unwrap();
        while stream.response.part() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stream.reset();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(ServedStream::current().is_none());
    }
}
