//! Types that the programs and the proxy share for spliced connections.
//!
//! An application A connects to an application B through the proxy: `A -> PA | PB -> B`, where PA and PB are the
//! proxy's own two sockets. What one application sends is either put into the other's receive queue by the kernel
//! (spliced) or takes the way through the proxy (relayed), and the order of the bytes must not depend on which.

use crate::PortRanges;

/// Where the kernel keeps what the program reads of sockets: byte offsets from the beginning of a `struct sock`,
/// as the kernel's own type information has them, and bounds.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpliceConfig {
    /// `tcp_sock.write_seq`: the sequence number after the last byte that was given to TCP.
    pub write_seq: u32,
    /// `tcp_sock.copied_seq`: the sequence number after the last byte that was read from TCP.
    pub copied_seq: u32,
    /// `sock.sk_backlog.rmem_alloc`: bytes that wait to be read, with overhead.
    pub rmem_alloc: u32,
    /// `sock.__sk_common.skc_cookie`
    pub cookie: u32,
    /// `sock.sk_lock.owned`: a system call is at work on the socket.
    pub owned: u32,
    /// `sock.sk_wq`: who waits at the socket.
    pub waiting: u32,
    /// `socket_wq.wait.head`, from the beginning of what [`SpliceConfig::waiting`] points to.
    pub waiters: u32,
    /// `wait_queue_entry.entry`: what the list goes through.
    pub waiter_link: u32,
    /// `wait_queue_entry.private`: the task that sleeps; zero for an epoll.
    pub waiter_task: u32,
    /// No more is put into a queue that holds as many bytes.
    pub limit: u32,
}

const _: () = assert!(size_of::<SpliceConfig>() == 40);

/// The end of a connection that began it, on its way to the end that accepts it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpliceOpener {
    /// Its cookie.
    pub cookie: u64,
    /// Its `struct sock`, a number.
    pub sock: u64,
}

const _: () = assert!(size_of::<SpliceOpener>() == 16);

/// A connection between an application and the proxy, kept under the cookie of the proxy's socket and as long as
/// that is open.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SplicePair {
    /// Cookie of the application's socket.
    pub app: u64,
    /// Its `struct sock`.
    pub app_sock: u64,
    /// `struct sock` of the proxy's socket.
    pub proxy_sock: u64,
    /// The sequence number of the first byte that the application sends.
    pub first: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<SplicePair>() == 32);

/// Where a member socket's bytes may be put, kept under its cookie.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpliceRedirect {
    /// The sender's cookie again: an entry that is replaced while it is read shows by it.
    pub sender: u64,
    /// The sender's `struct sock`.
    pub sender_sock: u64,
    /// Cookie of the socket whose receive queue gets the bytes.
    pub target: u64,
    /// Its `struct sock`.
    pub target_sock: u64,
    /// Cookie of the socket at the other end of the target's own connection.
    pub feeder: u64,
    /// Its `struct sock`.
    pub feeder_sock: u64,
    /// Cookie of the socket at the other end of the sender's own connection.
    pub back_feeder: u64,
    /// Its `struct sock`.
    pub back_feeder_sock: u64,
    /// The sequence number of the sender's first byte.
    pub first: u32,
    /// The index of its [`SpliceCounters`].
    pub flow: u32,
    /// Which is that of the way back.
    pub back_flow: u32,
    /// 1: the target may sleep in a read, as an application's may; 0: it never does.
    pub may_sleep: u32,
}

const _: () = assert!(size_of::<SpliceRedirect>() == 80);

impl SpliceRedirect {
    /// `sender` and `target` are the two ends of one connection: nothing is relayed between them.
    #[inline(always)]
    pub fn is_hop(&self) -> bool {
        self.sender == self.feeder
    }

    /// Whether nothing that was sent before is still on its way to the target.
    ///
    /// `forwarded` bytes had been read from the sender's connection and written to the feeder before `written` and
    /// `fed` (the sender's and the feeder's `write_seq`) were read, `taken` (the target's `copied_seq`) at any time:
    /// all that TCP got of the sender was forwarded, and all that the feeder got was read.
    #[inline(always)]
    pub fn is_clear(&self, forwarded: u64, written: u32, fed: u32, taken: u32) -> bool {
        let relayed = self.is_hop() || self.first.wrapping_add(forwarded as u32) == written;
        relayed && fed == taken
    }
}

/// One direction of a connection as both sides count it; shared memory.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SpliceCounters {
    /// The sender's cookie; 0: free. Written by the proxy.
    pub sender: u64,
    /// Bytes that were read from the sender and written to the target's connection. Written by the proxy, after
    /// the write.
    pub forwarded: u64,
    /// Bytes that the kernel has put into the target's queue. Written by the program.
    pub moved: u64,
    /// Messages that took the way through TCP. Written by the program.
    pub passed: u64,
    /// [`SpliceCounters::settled_at`] the feeder's `write_seq` at which the target had read all that came by TCP and was in
    /// no read that waits for more of it; 0: not known. Written by the program.
    pub settled: u64,
}

const _: () = assert!(size_of::<SpliceCounters>() == 40);

impl SpliceCounters {
    /// What [`SpliceCounters::settled`] is for a position; also what it stays for a target that never sleeps in a read.
    #[inline(always)]
    pub const fn settled_at(position: u32) -> u64 {
        1 << 32 | position as u64
    }
}

/// Ports of an address that may be spliced.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SplicePorts {
    /// If the source workload has the port in its annotation as well.
    pub with_source: PortRanges,
    /// Whoever the source is: a service says so.
    pub by_service: PortRanges,
}

const _: () = assert!(size_of::<SplicePorts>() == 136);

impl SplicePorts {
    /// Whether a connection to `port` may be spliced; `source` tells whether the source workload opted in.
    #[inline(always)]
    pub fn allow(&self, port: u32, source: impl FnOnce() -> bool) -> bool {
        self.by_service.contains(port) || (self.with_source.contains(port) && source())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortRange;

    #[test]
    fn clear_only_when_all_was_forwarded_and_read() {
        let splice =
            SpliceRedirect { sender: 1, feeder: 2, first: u32::MAX - 9, ..SpliceRedirect::default() };
        // 20 bytes relayed across the wrap of sequence numbers.
        assert!(splice.is_clear(20, 10, 500, 500));
        assert!(!splice.is_clear(19, 10, 500, 500), "one is in the proxy");
        assert!(!splice.is_clear(20, 10, 501, 500), "one has not been read");
        let hop = SpliceRedirect { sender: 1, feeder: 1, ..SpliceRedirect::default() };
        assert!(hop.is_clear(0, 7, 7, 7) && !hop.is_clear(0, 7, 7, 6));
    }

    #[test]
    fn a_service_decides_alone_a_workload_does_not() {
        let ports = |port| PortRanges::new(&[PortRange { start: port, end: port }]).unwrap();
        let opted = SplicePorts { with_source: ports(1), by_service: ports(2) };
        assert!(opted.allow(1, || true) && !opted.allow(1, || false));
        assert!(opted.allow(2, || false) && !opted.allow(3, || true));
    }
}
