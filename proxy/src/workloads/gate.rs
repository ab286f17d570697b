//! May a pod join here, or is that a successor's business?

use parking_lot::RwLock;
use tokio::sync::watch;

/// Closed while a successor takes over, and for good when it has: a pod that joined here then would have listeners
/// that the successor was not given, and lose them with this process.
pub(super) struct Gate {
    closed: watch::Sender<bool>,
    joining: RwLock<()>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { closed: watch::Sender::new(false), joining: RwLock::default() }
    }
}

impl Gate {
    /// From the return of this on, nobody joins.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        drop(self.joining.write());
    }

    pub(super) fn open(&self) {
        self.closed.send_replace(false);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until it is open; it may be closed again by the time that this is known.
    pub(super) async fn opens(&self) {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| !closed).await;
    }

    /// Does `join`, if it is open; it is not closed before that is done.
    pub(super) fn pass<T>(&self, join: impl FnOnce() -> T) -> Option<T> {
        let _joining = self.joining.read();
        (!self.is_closed()).then(join)
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
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.opens()).await.is_err());
        gate.open();
        gate.opens().await;
        assert_eq!(gate.pass(|| ()), Some(()));
    }
}
