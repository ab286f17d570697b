//! How do the proxy and the program count the same bytes without a system call?
//!
//! The map of flows is mapped into this process, and into that of a predecessor or successor: who wants a flow
//! takes one that is free by writing its sender's cookie into it.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use weft_common::Flow;

/// As many are looked at before the table counts as full.
const LOOKS: u32 = 256;

/// `weft_common::Flow` as two processes and the kernel share it.
#[repr(C)]
struct Cell {
    sender: AtomicU64,
    forwarded: AtomicU64,
    moved: AtomicU64,
    passed: AtomicU64,
    settled: AtomicU64,
}

const _: () = assert!(size_of::<Cell>() == size_of::<Flow>());

/// All flows.
pub(super) struct Flows {
    cells: NonNull<Cell>,
    count: u32,
    next: AtomicU32,
}

// SAFETY: the memory is mapped until the process ends, and every access is atomic.
unsafe impl Send for Flows {}
// SAFETY: as above.
unsafe impl Sync for Flows {}

impl Flows {
    /// Maps the map of `count` flows.
    pub(super) fn map(fd: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let length = count as usize * size_of::<Cell>();
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
        Ok(Flows { cells, count, next: AtomicU32::new(std::process::id().wrapping_mul(LOOKS)) })
    }

    fn cell(&self, index: u32) -> &Cell {
        assert!(index < self.count, "a flow has an index below their number");
        // SAFETY: within the mapping, which outlives `self`; all fields are atomics.
        unsafe { self.cells.add(index as usize).as_ref() }
    }

    /// Takes a free flow for `sender`; `None`: there is none. `may_sleep`: as [`weft_common::Route`] says.
    pub(super) fn take(&self, sender: u64, forwarded: u64, may_sleep: bool) -> Option<u32> {
        (0..LOOKS).find_map(|_| {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
            let cell = self.cell(index);
            cell.sender.compare_exchange(0, sender, Ordering::AcqRel, Ordering::Relaxed).ok()?;
            cell.forwarded.store(forwarded, Ordering::Release);
            cell.moved.store(0, Ordering::Relaxed);
            cell.passed.store(0, Ordering::Relaxed);
            cell.settled.store(if may_sleep { 0 } else { Flow::settled_at(0) }, Ordering::Release);
            Some(index)
        })
    }

    /// Says how many bytes have been read from the sender and written on, in all.
    pub(super) fn forwarded(&self, index: u32, bytes: u64) {
        self.cell(index).forwarded.store(bytes, Ordering::Release);
    }

    /// How many bytes the kernel has moved.
    pub(super) fn moved(&self, index: u32) -> u64 {
        self.cell(index).moved.load(Ordering::Acquire)
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
