//! What does the proxy do for one connection that may be spliced?

use std::{
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::warn;
use weft_common::{Pair, Route};

use super::Splicing;
use crate::{
    capture::{Routed, socket_cookie},
    metrics::{OpenConn, Transport},
};

/// The application's end of the second connection may be known to the kernel a moment after the proxy's: it is
/// asked for again with each piece that is relayed, as often as this.
const MOST_TRIES: u32 = 64;

/// The two connections of the proxy to two applications of its own node.
pub struct Joint {
    splicing: Arc<Splicing>,
    /// Of the proxy's sockets: to the source, to the destination.
    cookies: [u64; 2],
    source: Vec<Arc<Transport>>,
    destination: Vec<Arc<Transport>>,
    /// Bytes relayed: from the source, from the destination.
    relayed: [AtomicU64; 2],
    tries: AtomicU32,
    routed: OnceLock<[Routed; 2]>,
    /// What of the kernel's bytes is in the metrics; `None` after the end.
    counted: Mutex<Option<[u64; 2]>>,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the source.
    Forward = 0,
    /// From the destination.
    Backward = 1,
}

impl Joint {
    /// Of the connections to the source and to the destination, counted by these legs.
    pub fn start(
        splicing: &Arc<Splicing>,
        (source, source_legs): (&TcpStream, &[OpenConn]),
        (destination, destination_legs): (&TcpStream, &[OpenConn]),
    ) -> Option<JointHandle> {
        let cookies = [socket_cookie(&source.as_fd()).ok()?, socket_cookie(&destination.as_fd()).ok()?];
        let transports =
            |legs: &[OpenConn]| legs.iter().map(|leg| leg.transport().clone()).collect::<Vec<_>>();
        let joint = Arc::new(Joint {
            splicing: splicing.clone(),
            cookies,
            source: transports(source_legs),
            destination: transports(destination_legs),
            relayed: Default::default(),
            tries: AtomicU32::new(0),
            routed: OnceLock::new(),
            counted: Mutex::new(Some([0; 2])),
        });
        joint.begin();
        Some(JointHandle(joint))
    }

    /// So many bytes more were read from one side and written to the other. To be called by one task only.
    pub fn relayed(self: &Arc<Self>, way: Way, bytes: usize) {
        let before = self.relayed[way as usize].fetch_add(bytes as u64, Ordering::Relaxed);
        match self.routed.get() {
            Some(routed) => {
                self.splicing.capture.splice().forwarded(routed[way as usize], before, before + bytes as u64);
            }
            None => self.begin(),
        }
    }

    /// Counts what the kernel has moved since the last time; how many bytes that were.
    pub fn account(&self) -> u64 {
        let Some(routed) = self.routed.get() else { return 0 };
        let splice = self.splicing.capture.splice();
        let mut counted = self.counted.lock();
        // A flow that has ended is another connection's.
        let Some(before) = counted.as_mut() else { return 0 };
        let moved = routed.map(|routed| splice.moved(routed));
        self.count(before, moved)
    }

    /// From now on the kernel moves nothing. Must be called before the proxy's sockets are closed.
    pub fn end(&self) {
        self.tries.store(MOST_TRIES, Ordering::Relaxed);
        let Some(routed) = self.routed.get() else { return };
        let splice = self.splicing.capture.splice();
        let mut counted = self.counted.lock();
        if let Some(mut before) = counted.take() {
            let moved = routed.map(|routed| splice.end(routed));
            self.count(&mut before, moved);
            drop(counted);
            self.splicing.closed(self.cookies[0]);
        }
    }

    /// `moved`: `None` where the sender has gone and a successor has given its flow away; what it moved last is lost
    /// to the metrics.
    fn count(&self, before: &mut [u64; 2], moved: [Option<u64>; 2]) -> u64 {
        let [forward, backward] = [0, 1].map(|way| {
            let moved = moved[way].unwrap_or(before[way]);
            moved.saturating_sub(std::mem::replace(&mut before[way], moved))
        });
        for (bytes, from, to) in
            [(forward, &self.source, &self.destination), (backward, &self.destination, &self.source)]
        {
            if bytes > 0 {
                from.iter().for_each(|leg| leg.read_bytes(bytes));
                to.iter().for_each(|leg| leg.wrote_bytes(bytes));
            }
        }
        self.splicing.figures.bytes.fetch_add(forward + backward, Ordering::Relaxed);
        forward + backward
    }

    /// Tells the kernel the way, once it knows both applications' ends.
    fn begin(self: &Arc<Self>) {
        if self.tries.fetch_add(1, Ordering::Relaxed) >= MOST_TRIES {
            return;
        }
        let splice = self.splicing.capture.splice();
        let [Some(source), Some(destination)] = self.cookies.map(|cookie| splice.pair(cookie)) else {
            return;
        };
        let relayed = |way: Way| self.relayed[way as usize].load(Ordering::Relaxed);
        let routes =
            [route(source, destination, self.cookies[1]), route(destination, source, self.cookies[0])];
        match splice.begin(routes, [Way::Forward, Way::Backward].map(relayed)) {
            // Only this task sets it.
            Ok(routed) => {
                let _ = self.routed.set(routed);
                self.splicing.opened(self.cookies[0], self);
            }
            Err(full) => {
                self.splicing.figures.full.fetch_add(1, Ordering::Relaxed);
                self.tries.store(MOST_TRIES, Ordering::Relaxed);
                warn!(error = %full, "a connection that opted in is relayed, not spliced");
            }
        }
    }
}

/// Whose connection it is: dropped, the kernel moves nothing any more.
pub struct JointHandle(Arc<Joint>);

impl std::ops::Deref for JointHandle {
    type Target = Arc<Joint>;

    fn deref(&self) -> &Arc<Joint> {
        &self.0
    }
}

impl Drop for JointHandle {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What `from` sends goes to `to`, which `feeder` is the proxy's socket to.
fn route(from: Pair, to: Pair, feeder: u64) -> Route {
    Route {
        sender: from.app,
        sender_sock: from.app_sock,
        target: to.app,
        target_sock: to.app_sock,
        feeder,
        feeder_sock: to.proxy_sock,
        first: from.first,
        may_sleep: 1,
        ..Route::default()
    }
}
