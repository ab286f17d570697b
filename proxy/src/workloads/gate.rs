//! May a pod join here, or be forgotten, or is that a successor's business?

use parking_lot::RwLock;
use tokio::sync::watch;

/// Closed while a successor takes over, and for good when it has: a pod that joined here then would have listeners
/// that the successor was not given, and lose them with this process; one that has left may have joined the successor
/// again, which then has it in the kernel's books.
pub(super) struct Gate {
    closed: watch::Sender<bool>,
    inside: RwLock<()>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { closed: watch::Sender::new(false), inside: RwLock::default() }
    }
}

impl Gate {
    /// From the return of this on, nobody passes.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        drop(self.inside.write());
    }

    pub(super) fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Waits until it is open, and does `act`; for ever, if a successor has taken over.
    pub(super) async fn pass_when_open<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut act = Some(act);
        let mut closed = self.closed.subscribe();
        loop {
            // The sender lives as long as `self`.
            let _ = closed.wait_for(|closed| !closed).await;
            let done = self.pass(|| act.take().map(|act| act()));
            if let Some(done) = done.flatten() {
                return done;
            }
        }
    }

    /// Does `act`, if it is open; it is not closed before that is done.
    pub(super) fn pass<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _inside = self.inside.read();
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
    async fn who_is_in_comes_through_and_nobody_follows() {
        let gate = Arc::<Gate>::default();
        let through = Arc::<AtomicBool>::default();
        let (entered, inside) = mpsc::channel();
        let joining = std::thread::spawn({
            let (gate, through) = (gate.clone(), through.clone());
            move || {
                gate.pass(|| {
                    entered.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                    through.store(true, Ordering::SeqCst);
                })
            }
        });
        inside.recv().unwrap();
        gate.close();
        assert!(through.load(Ordering::SeqCst), "closed while somebody was in it");
        assert_eq!(joining.join().unwrap(), Some(()));
        assert_eq!(gate.pass(|| ()), None);
        let waiting = gate.pass_when_open(|| ());
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
        gate.open();
        gate.pass_when_open(|| ()).await;
        assert_eq!(gate.pass(|| ()), Some(()));
    }
}
