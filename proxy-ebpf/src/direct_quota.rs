//! Limits how many direct connections one workload may have pending and open.
//!
//! So no workload can fill the shared maps. Connections older than the counter make it negative when they end.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};

use crate::quota;

/// How many flows a source has (low half) and how many open connections (high half).
#[map]
static DIRECT_COUNT_BY_NETNS: HashMap<u64, u64> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Connections of one source that may be pending at a time.
const MAX_PENDING: i32 = 1024;
/// Open direct connections of one source at a time, each of which has two entries in `OPEN_DIRECT_BY_COOKIE`.
const MAX_OPEN: i32 = 8192;
const ONE_PENDING: u64 = 1;
const ONE_OPEN: u64 = 1 << 32;
const BPF_NOEXIST: u64 = 1;

/// Whether further connections of the source are to take the proxy.
#[inline(always)]
pub fn is_used_up(netns: u64) -> bool {
    // SAFETY: values are plain integers.
    unsafe {
        DIRECT_COUNT_BY_NETNS
            .get(netns)
            .is_some_and(|n| *n as i32 >= MAX_PENDING || (*n >> 32) as i32 >= MAX_OPEN)
    }
}

/// A connection of the source is on its way.
#[inline(always)]
pub fn add_pending(netns: u64) {
    if !add(netns, ONE_PENDING) && DIRECT_COUNT_BY_NETNS.insert(netns, ONE_PENDING, BPF_NOEXIST).is_err() {
        add(netns, ONE_PENDING);
    }
}

/// It has arrived, or never will.
#[inline(always)]
pub fn remove_pending(netns: u64) {
    add(netns, ONE_PENDING.wrapping_neg());
}

/// A connection of the source is open.
#[inline(always)]
pub fn add_open(netns: u64) {
    add(netns, ONE_OPEN);
}

/// It is no more.
#[inline(always)]
pub fn remove_open(netns: u64) {
    add(netns, ONE_OPEN.wrapping_neg());
}

/// Adds modulo 2^64; false: nothing is counted of the source.
#[inline(always)]
fn add(netns: u64, n: u64) -> bool {
    let Some(value) = DIRECT_COUNT_BY_NETNS.get_ptr_mut(netns) else { return false };
    // SAFETY: a live map value, aligned, changed in this way only.
    unsafe { quota::add(value, n) };
    true
}
