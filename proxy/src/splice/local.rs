//! Splices a connection between two applications of this node.

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

/// The maximum number of lookups of the applications' sockets. A socket may appear in the kernel's map a moment after
/// the connection; it is looked up again after each relayed read.
const MAX_TRIES: u32 = 64;

/// The splice between the proxy's connections to two applications of its node: the kernel moves bytes between these.
pub struct LocalSplice {
    splicing: Arc<Splicing>,
    /// Cookies of the proxy's sockets to the source and to the destination.
    cookies: [u64; 2],
    source: Vec<Arc<Transport>>,
    destination: Vec<Arc<Transport>>,
    /// Bytes that the proxy relayed: from the source, from the destination.
    relayed: [AtomicU64; 2],
    tries: AtomicU32,
    redirects: OnceLock<[InstalledRedirect; 2]>,
    /// How many bytes that the kernel moved are in the metrics; `None` after the end.
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
            redirects: OnceLock::new(),
            counted: Mutex::new(Some([0; 2])),
        });
        splice.install();
        Some(LocalSpliceGuard(splice))
    }

    /// Records that the proxy relayed bytes from `from`. Must be called by one task only.
    pub fn relayed(self: &Arc<Self>, from: Peer, bytes: usize) {
        let before = self.relayed[from as usize].fetch_add(bytes as u64, Ordering::Relaxed);
        match self.redirects.get() {
            Some(redirects) => {
                self.splicing.capture.splice().forwarded(
                    redirects[from as usize],
                    before,
                    before + bytes as u64,
                );
            }
            None => self.install(),
        }
    }

    /// Counts the bytes that the kernel has moved since the last call, and returns them.
    pub fn account(&self) -> u64 {
        let Some(redirects) = self.redirects.get() else { return 0 };
        let splice = self.splicing.capture.splice();
        let mut counted = self.counted.lock();
        // After the end the kernel's counters belong to another connection.
        let Some(before) = counted.as_mut() else { return 0 };
        let moved = redirects.map(|redirect| splice.moved(redirect));
        self.count(before, moved)
    }

    /// Stops the kernel from moving bytes. Must be called before the proxy's sockets are closed.
    pub fn end(&self) {
        self.tries.store(MAX_TRIES, Ordering::Relaxed);
        let Some(redirects) = self.redirects.get() else { return };
        let splice = self.splicing.capture.splice();
        let mut counted = self.counted.lock();
        if let Some(mut before) = counted.take() {
            let moved = redirects.map(|redirect| splice.end(redirect));
            self.count(&mut before, moved);
            drop(counted);
            self.splicing.closed(self.cookies[0]);
        }
    }

    /// Adds the bytes moved since `before` to the metrics. `moved` is `None` if the sender has closed and its entry has
    /// been reused by another proxy; then its last bytes are missing in the metrics.
    fn count(&self, before: &mut [u64; 2], moved: [Option<u64>; 2]) -> u64 {
        let [forward, backward] = [0, 1].map(|direction| {
            let moved = moved[direction].unwrap_or(before[direction]);
            moved.saturating_sub(std::mem::replace(&mut before[direction], moved))
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

    /// Installs the redirects, if the kernel knows both applications' sockets by now.
    fn install(self: &Arc<Self>) {
        if self.tries.fetch_add(1, Ordering::Relaxed) >= MAX_TRIES {
            return;
        }
        let splice = self.splicing.capture.splice();
        let [Some(source), Some(destination)] = self.cookies.map(|cookie| splice.pair(cookie)) else {
            return;
        };
        let relayed = |from: Peer| self.relayed[from as usize].load(Ordering::Relaxed);
        let redirects =
            [redirect(source, destination, self.cookies[1]), redirect(destination, source, self.cookies[0])];
        match splice.begin(redirects, [Peer::Src, Peer::Dst].map(relayed)) {
            // Only this task sets it.
            Ok(installed) => {
                let _ = self.redirects.set(installed);
                self.splicing.opened(self.cookies[0], self);
            }
            Err(error) => {
                self.splicing.counters.full.fetch_add(1, Ordering::Relaxed);
                self.tries.store(MAX_TRIES, Ordering::Relaxed);
                warn!(%error, "failed to splice a connection; the proxy relays it");
            }
        }
    }
}

/// Ends the splice when it is dropped.
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
fn redirect(from: SplicePair, to: SplicePair, feeder: u64) -> SpliceRedirect {
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
