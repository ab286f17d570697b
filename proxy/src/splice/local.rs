//! Splices one connection between two applications of this node.

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
use weft_common::{SplicePair, SpliceRedirect};

use super::Splicing;
use crate::{
    capture::{InstalledRedirect, socket_cookie},
    metrics::Transport,
    net::Peer,
};

/// The kernel may learn of the application's socket a moment after the proxy's: it is looked up again with each piece
/// that is relayed, up to this often.
const MAX_TRIES: u32 = 64;

/// The proxy's connections to two applications of its node, between which the kernel moves bytes.
pub struct LocalSplice {
    splicing: Arc<Splicing>,
    /// Cookies of the proxy's sockets to the source and to the destination.
    cookies: [u64; 2],
    source: Vec<Arc<Transport>>,
    destination: Vec<Arc<Transport>>,
    /// Bytes relayed: from the source, from the destination.
    relayed: [AtomicU64; 2],
    tries: AtomicU32,
    routed: OnceLock<[InstalledRedirect; 2]>,
    /// How many of the kernel's bytes are in the metrics; `None` after the end.
    counted: Mutex<Option<[u64; 2]>>,
}

impl LocalSplice {
    /// Splices the connections to the source and to the destination, each with the counters of its bytes.
    pub fn start(
        splicing: &Arc<Splicing>,
        (source, source_counters): (&TcpStream, Vec<Arc<Transport>>),
        (destination, destination_counters): (&TcpStream, Vec<Arc<Transport>>),
    ) -> Option<LocalSpliceGuard> {
        let cookies = [socket_cookie(&source.as_fd()).ok()?, socket_cookie(&destination.as_fd()).ok()?];
        let splice = Arc::new(LocalSplice {
            splicing: splicing.clone(),
            cookies,
            source: source_counters,
            destination: destination_counters,
            relayed: Default::default(),
            tries: AtomicU32::new(0),
            routed: OnceLock::new(),
            counted: Mutex::new(Some([0; 2])),
        });
        splice.begin();
        Some(LocalSpliceGuard(splice))
    }

    /// Bytes that `from` sent were relayed by the proxy. To be called by one task only.
    pub fn relayed(self: &Arc<Self>, from: Peer, bytes: usize) {
        let before = self.relayed[from as usize].fetch_add(bytes as u64, Ordering::Relaxed);
        match self.routed.get() {
            Some(routed) => {
                self.splicing.capture.splice().forwarded(
                    routed[from as usize],
                    before,
                    before + bytes as u64,
                );
            }
            None => self.begin(),
        }
    }

    /// Counts the bytes that the kernel has moved since the last call, and returns them.
    pub fn account(&self) -> u64 {
        let Some(routed) = self.routed.get() else { return 0 };
        let splice = self.splicing.capture.splice();
        let mut counted = self.counted.lock();
        // After the end the kernel's counters belong to another connection.
        let Some(before) = counted.as_mut() else { return 0 };
        let moved = routed.map(|routed| splice.moved(routed));
        self.count(before, moved)
    }

    /// Stops the kernel from moving bytes. Must be called before the proxy's sockets are closed.
    pub fn end(&self) {
        self.tries.store(MAX_TRIES, Ordering::Relaxed);
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

    /// `moved` is `None` where the sender has closed and a successor has reused its entry: its last bytes are missing in
    /// the metrics.
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
        self.splicing.counters.bytes.fetch_add(forward + backward, Ordering::Relaxed);
        forward + backward
    }

    /// Installs the redirects, once the kernel knows both applications' sockets.
    fn begin(self: &Arc<Self>) {
        if self.tries.fetch_add(1, Ordering::Relaxed) >= MAX_TRIES {
            return;
        }
        let splice = self.splicing.capture.splice();
        let [Some(source), Some(destination)] = self.cookies.map(|cookie| splice.pair(cookie)) else {
            return;
        };
        let relayed = |from: Peer| self.relayed[from as usize].load(Ordering::Relaxed);
        let routes =
            [route(source, destination, self.cookies[1]), route(destination, source, self.cookies[0])];
        match splice.begin(routes, [Peer::Src, Peer::Dst].map(relayed)) {
            // Only this task sets it.
            Ok(routed) => {
                let _ = self.routed.set(routed);
                self.splicing.opened(self.cookies[0], self);
            }
            Err(full) => {
                self.splicing.counters.full.fetch_add(1, Ordering::Relaxed);
                self.tries.store(MAX_TRIES, Ordering::Relaxed);
                warn!(error = %full, "a connection that opted in is relayed, not spliced");
            }
        }
    }
}

/// Stops the splicing when it is dropped.
pub struct LocalSpliceGuard(Arc<LocalSplice>);

impl std::ops::Deref for LocalSpliceGuard {
    type Target = Arc<LocalSplice>;

    fn deref(&self) -> &Arc<LocalSplice> {
        &self.0
    }
}

impl Drop for LocalSpliceGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The redirect for what `from` sends to `to`; `feeder` is the proxy's socket to `to`.
fn route(from: SplicePair, to: SplicePair, feeder: u64) -> SpliceRedirect {
    SpliceRedirect {
        sender: from.app,
        sender_sock: from.app_sock,
        target: to.app,
        target_sock: to.app_sock,
        feeder,
        feeder_sock: to.proxy_sock,
        first: from.first,
        may_sleep: 1,
        ..SpliceRedirect::default()
    }
}
