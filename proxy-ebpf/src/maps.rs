//! The maps that the programs share, and how many entries each has.
//!
//! All maps are pinned, so that they outlive a restart of the proxy. None of them evicts: a full map is an
//! outcome with a counter.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::SkStorage,
    helpers::{bpf_ktime_get_ns, bpf_map_lookup_elem, bpf_sk_release, bpf_sk_storage_get},
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, SockHash, lpm_trie::Key},
};
use weft_common::{Config, Ip, ListenKey, Outcome, PeerInfo, SLOTS, SocketState, SubnetKey, Tuple, Workload};

/// Workloads by netns cookie.
#[map]
pub static WORKLOAD_BY_NETNS: HashMap<u64, Workload> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Workloads' addresses: sk_lookup cannot read the netns cookie.
#[map]
pub static NETNS_BY_IP: HashMap<Ip, u64> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);
/// The proxy's outbound listeners by `listener_key`. A closed listener leaves by itself.
#[map]
pub static OUTBOUND_LISTENERS: SockHash<u64> = SockHash::with_max_entries(8192, 0);
/// The proxy's inbound listeners by pod address.
#[map]
pub static INBOUND_LISTENERS: SockHash<Ip> = SockHash::with_max_entries(8192, 0);
/// Original destinations between connect() and accept(): as many as handshakes at one time.
#[map]
pub static ORIGINAL_DST_BY_TUPLE: HashMap<Tuple, PeerInfo> =
    HashMap::with_max_entries(131_072, BPF_F_NO_PREALLOC);
/// How many entries of `ORIGINAL_DST_BY_TUPLE` are a workload's: one must not fill it for all.
#[map]
pub static HANDSHAKES_BY_NETNS: HashMap<u64, u64> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Connections that the node itself is opening to pods.
#[map]
pub static HOST_CONNECTIONS: HashMap<Tuple, u8> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// Applications' listeners: how many sockets on one address. Zero is as good as absent.
#[map]
pub static LISTENERS_BY_ADDR: HashMap<ListenKey, u64> = HashMap::with_max_entries(65536, BPF_F_NO_PREALLOC);
/// How many entries of `LISTENERS_BY_ADDR` are a workload's. User space corrects it when it removes some.
#[map]
pub static LISTENERS_BY_NETNS: HashMap<u64, u64> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Listeners that are older than the workload's joining, written by user space.
#[map]
pub static PREEXISTING_LISTENERS: HashMap<ListenKey, u64> =
    HashMap::with_max_entries(65536, BPF_F_NO_PREALLOC);
/// Subnets that workloads leave alone.
#[map]
pub static SKIPPED_SUBNETS: LpmTrie<SubnetKey, u8> = LpmTrie::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// Workloads (netns cookies) by the slot of their redirect targets; 0 is not used.
#[map]
pub static NETNS_BY_SLOT: Array<u64> = Array::with_max_entries(SLOTS, 0);
/// The proxy's own cgroups; more than one during a takeover. Other versions read it by this name.
#[map]
pub static PROXIES: HashMap<u64, u8> = HashMap::with_max_entries(64, BPF_F_NO_PREALLOC);
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
/// When the proxy last said that it is alive: nanoseconds of CLOCK_MONOTONIC.
#[map]
pub static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Outcome::COUNT, 0);
#[btf_map]
pub static STATE_BY_SOCKET: SkStorage<SocketState> = SkStorage::new();

#[inline(always)]
pub fn count(outcome: Outcome) {
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: a per-CPU slot; a program is not preempted by another run of itself on its CPU.
        unsafe { *counter += 1 }
    }
}

#[inline(always)]
pub fn workload(netns: u64) -> Option<&'static Workload> {
    // SAFETY: entries are replaced whole by user space; a torn read is at worst an old or a new value of one field.
    unsafe { WORKLOAD_BY_NETNS.get(netns) }
}

/// The state kept with a socket; with `create`, made (zeroed) if there is none. Null: none, or no memory.
///
/// # Safety
/// `socket` must be a socket pointer of the program's context.
#[inline(always)]
pub unsafe fn socket_state(socket: *mut c_void, create: bool) -> *mut SocketState {
    let map = core::ptr::addr_of!(STATE_BY_SOCKET).cast_mut().cast::<c_void>();
    // SAFETY: the caller's socket, checked by the verifier.
    unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), create as u64).cast() }
}

/// Whether the proxy has said lately that it is alive.
#[inline(always)]
pub fn beating() -> bool {
    let (Some(config), Some(beat)) = (CONFIG.get(0), HEARTBEAT.get(0)) else { return false };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    now.wrapping_sub(*beat) < config.stale_after_ns || *beat > now
}

/// Whether the proxy's outbound listener is open and the proxy alive.
#[inline(always)]
pub fn outbound_served(key: u64) -> bool {
    if !beating() {
        return false;
    }
    let map = core::ptr::addr_of!(OUTBOUND_LISTENERS).cast_mut().cast::<c_void>();
    // SAFETY: a lookup in a SOCKHASH takes a reference to the socket, released at once.
    unsafe {
        let listener = bpf_map_lookup_elem(map, core::ptr::addr_of!(key).cast());
        if listener.is_null() {
            return false;
        }
        bpf_sk_release(listener);
    }
    true
}

#[inline(always)]
pub fn skipped_subnet(netns: u64, ip: &Ip) -> bool {
    SKIPPED_SUBNETS.get(Key::new(SubnetKey::BITS, SubnetKey::new(netns, ip))).is_some()
}

/// Whether an application listens on the address itself or on the wildcard of a family that takes it.
#[inline(always)]
pub fn listens(workload: &Workload, netns: u64, ip: &Ip, port: u32) -> bool {
    let seeded = workload.is(Workload::PREEXISTING);
    let at = |ip: Ip| {
        let key = ListenKey { netns, ip, port, pad: 0 };
        // SAFETY: values are plain integers.
        unsafe {
            LISTENERS_BY_ADDR.get(key).is_some_and(|n| *n != 0)
                || (seeded && PREEXISTING_LISTENERS.get(key).is_some_and(|n| *n != 0))
        }
    };
    at(*ip) || at(Ip::ANY_V6) || (ip.is_v4() && at(Ip::ANY_V4))
}
