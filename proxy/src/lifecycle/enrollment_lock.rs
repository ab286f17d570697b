//! Keeps pods from being enrolled and unenrolled while a successor takes over.

use parking_lot::RwLock;
use tokio::sync::watch;

/// Closed while a successor takes over, and for good when it has. A pod enrolled here meanwhile would have listeners that
/// the successor was not given, and would lose them with this process; a pod unenrolled here may have been enrolled by
/// the successor, which has it in the kernel's maps.
pub(super) struct EnrollmentLock {
    closed: watch::Sender<bool>,
    running: RwLock<()>,
}

impl Default for EnrollmentLock {
    fn default() -> Self {
        EnrollmentLock { closed: watch::Sender::new(false), running: RwLock::default() }
    }
}

impl EnrollmentLock {
    /// When this returns, nothing is running under the lock and nothing will.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        drop(self.running.write());
    }

    pub(super) fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Waits until it is open and runs `act`; waits for ever if a successor has taken over.
    pub(super) async fn run_when_open<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut act = Some(act);
        let mut closed = self.closed.subscribe();
        loop {
            // The sender lives as long as `self`.
            let _ = closed.wait_for(|closed| !closed).await;
            let done = self.run(|| act.take().map(|act| act()));
            if let Some(done) = done.flatten() {
                return done;
            }
        }
    }

    /// Runs `act` if it is open. Closing waits for that.
    pub(super) fn run<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _running = self.running.read();
        (!*self.closed.borrow()).then(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        time::Duration,
    };

    #[tokio::test]
    async fn closing_waits_for_what_runs_and_stops_the_rest() {
        let lock = Arc::<EnrollmentLock>::default();
        let done = Arc::<AtomicBool>::default();
        let (started, begun) = mpsc::channel();
        let enrolling = std::thread::spawn({
            let (lock, done) = (lock.clone(), done.clone());
            move || {
                lock.run(|| {
                    started.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                    done.store(true, Ordering::SeqCst);
                })
            }
        });
        begun.recv().unwrap();
        lock.close();
        assert!(done.load(Ordering::SeqCst), "closed while an action was running");
        assert_eq!(enrolling.join().unwrap(), Some(()));
        assert_eq!(lock.run(|| ()), None);
        let waiting = lock.run_when_open(|| ());
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
        lock.open();
        lock.run_when_open(|| ()).await;
        assert_eq!(lock.run(|| ()), Some(()));
    }
}
