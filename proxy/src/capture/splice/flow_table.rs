//! Byte counters in memory that the proxy and the sk_msg program share.
//!
//! The map of flows is mapped into this process, and into that of a predecessor or successor: who wants a flow
//! takes one that is free by writing its sender's cookie into it.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use weft_common::SpliceCounters;

/// As many are looked at before the table counts as full.
const LOOKS: u32 = 256;

/// `weft_common::SpliceCounters` as two processes and the kernel share it.
#[repr(C)]
struct FlowEntry {
    sender: AtomicU64,
    forwarded: AtomicU64,
    moved: AtomicU64,
    passed: AtomicU64,
    settled: AtomicU64,
}

const _: () = assert!(size_of::<FlowEntry>() == size_of::<SpliceCounters>());

/// All flows.
pub(super) struct FlowTable {
    cells: NonNull<FlowEntry>,
    count: u32,
    next: AtomicU32,
}

// SAFETY: the memory is mapped until the process ends, and every access is atomic.
unsafe impl Send for FlowTable {}
// SAFETY: as above.
unsafe impl Sync for FlowTable {}

impl FlowTable {
    /// Maps the map of `count` flows.
    pub(super) fn map(fd: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let length = count as usize * size_of::<FlowEntry>();
        // SAFETY: a new mapping at a place of the kernel's choice; the kernel refuses a length beyond the map's.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let cells = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        // Two generations begin at different places.
        Ok(FlowTable { cells, count, next: AtomicU32::new(std::process::id().wrapping_mul(LOOKS)) })
    }

    fn cell(&self, index: u32) -> &FlowEntry {
        assert!(index < self.count, "a flow has an index below their number");
        // SAFETY: within the mapping, which outlives `self`; all fields are atomics.
        unsafe { self.cells.add(index as usize).as_ref() }
    }

    /// Takes a free flow for `sender`; `None`: there is none. `may_sleep`: as [`weft_common::SpliceRedirect`] says.
    pub(super) fn take(&self, sender: u64, forwarded: u64, may_sleep: bool) -> Option<u32> {
        (0..LOOKS).find_map(|_| {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
            let cell = self.cell(index);
            cell.sender.compare_exchange(0, sender, Ordering::AcqRel, Ordering::Relaxed).ok()?;
            cell.forwarded.store(forwarded, Ordering::Release);
            cell.moved.store(0, Ordering::Relaxed);
            cell.passed.store(0, Ordering::Relaxed);
            cell.settled.store(if may_sleep { 0 } else { SpliceCounters::settled_at(0) }, Ordering::Release);
            Some(index)
        })
    }

    /// Says how many bytes have been read from the sender and written on, in all; `before` was said last. Does nothing
    /// if the flow is another sender's by now: that one's bytes would be moved past others that are on their way.
    pub(super) fn forwarded(&self, index: u32, sender: u64, before: u64, bytes: u64) {
        let cell = self.cell(index);
        if cell.sender.load(Ordering::Acquire) == sender {
            // The new owner has begun with another number.
            let _ = cell.forwarded.compare_exchange(before, bytes, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// How many bytes of `sender` the kernel has moved; `None`: the flow is another sender's by now.
    pub(super) fn moved(&self, index: u32, sender: u64) -> Option<u64> {
        let cell = self.cell(index);
        let moved = cell.moved.load(Ordering::Acquire);
        // Last: who takes a flow says so before resetting the rest.
        (cell.sender.load(Ordering::Acquire) == sender).then_some(moved)
    }

    /// The flow is no longer used by `sender`.
    pub(super) fn free(&self, index: u32, sender: u64) {
        let cell = self.cell(index);
        let _ = cell.sender.compare_exchange(sender, 0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The flows in use, with their senders.
    pub(super) fn used(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..self.count)
            .map(|index| (index, self.cell(index).sender.load(Ordering::Acquire)))
            .filter(|(_, sender)| *sender != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsFd};

    fn flows(file: &File, count: u32) -> FlowTable {
        file.set_len(u64::from(count) * size_of::<FlowEntry>() as u64).unwrap();
        FlowTable::map(file.as_fd(), count).unwrap()
    }

    #[test]
    fn a_flow_that_is_anothers_is_left_alone() {
        let file = tempfile::tempfile().unwrap();
        // As two processes have it.
        let (old, new) = (flows(&file, 1), flows(&file, 1));
        let index = old.take(7, 100, false).unwrap();
        assert_eq!(new.take(8, 0, false), None);
        old.forwarded(index, 7, 100, 150);
        assert_eq!(old.moved(index, 7), Some(0));
        assert_eq!(new.cell(index).forwarded.load(Ordering::Acquire), 150);

        new.free(index, 7);
        assert_eq!(new.take(8, 0, false), Some(index));
        new.cell(index).moved.store(5, Ordering::Release);
        old.forwarded(index, 7, 150, 999);
        assert_eq!(new.cell(index).forwarded.load(Ordering::Acquire), 0);
        assert_eq!(old.moved(index, 7), None);
        old.free(index, 7);
        assert_eq!(new.moved(index, 8), Some(5));
    }

    #[test]
    fn what_is_said_late_does_not_hold_for_the_next_owner() {
        let file = tempfile::tempfile().unwrap();
        let flows = flows(&file, 1);
        let index = flows.take(8, 3, false).unwrap();
        // As if the flow had changed hands between the look at its owner and the saying.
        flows.forwarded(index, 8, 150, 999);
        assert_eq!(flows.cell(index).forwarded.load(Ordering::Acquire), 3);
    }
}
