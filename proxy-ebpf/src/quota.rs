//! Limits how many entries of a shared map one workload may have.
//!
//! Counters by netns cookie, made by user space when a workload joins. Without one nothing is limited: the workload is
//! leaving, or of a version before.

use core::arch::asm;

use aya_ebpf::maps::HashMap;

/// One more entry; false: the workload has as many as it may. Exact but for runs on other CPUs at this very moment.
#[inline(always)]
pub fn take(counts: &HashMap<u64, u64>, netns: u64, most: u64) -> bool {
    let Some(count) = counts.get_ptr_mut(netns) else { return true };
    // Entries that are older than the counter may have been removed: below zero counts as zero.
    // SAFETY: a live map value, aligned.
    if unsafe { count.read_volatile() } as i64 >= most as i64 {
        return false;
    }
    // SAFETY: as above.
    unsafe { add(count, 1) };
    true
}

/// Whether the workload has as many as it may.
#[inline(always)]
pub fn is_used_up(counts: &HashMap<u64, u64>, netns: u64, most: u64) -> bool {
    // SAFETY: values are plain integers.
    unsafe { counts.get(netns).is_some_and(|count| *count as i64 >= most as i64) }
}

/// One entry less.
#[inline(always)]
pub fn give_back(counts: &HashMap<u64, u64>, netns: u64) {
    if let Some(count) = counts.get_ptr_mut(netns) {
        // SAFETY: a live map value, aligned.
        unsafe { add(count, u64::MAX) };
    }
}

/// Adds modulo 2^64, against other CPUs. Written out because core has no read-modify-write atomics for this target.
///
/// # Safety
/// `value` must be a live, aligned map value that is changed in this way only.
#[inline(always)]
pub unsafe fn add(value: *mut u64, n: u64) {
    // SAFETY: the caller's.
    unsafe { asm!("lock *(u64 *)({value} + 0) += {n}", value = in(reg) value, n = in(reg) n) };
}
