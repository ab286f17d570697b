//! Chooses the sockets whose bytes the kernel may move (sk_msg), and records which belong together.
//!
//! Called by connect.rs and sockops.rs. Only applications' sockets whose port opted in become members of the
//! socket map: membership alone changes what an application sees (docs/operations.md). Whatever does not work
//! out here leaves a connection that is relayed by the proxy like any other.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::SkStorage,
    helpers::{bpf_get_socket_cookie, bpf_sk_storage_get},
    macros::{btf_map, map},
    maps::{Array, HashMap, SockHash},
    programs::SockOpsContext,
};
use weft_common::{
    Ip, Outcome, PortRanges, SocketState, SpliceConfig, SpliceCounters, SpliceOpener, SplicePair,
    SplicePorts, SpliceRedirect, Tuple,
};

use crate::maps::{count, socket_state};

const BPF_ANY: u64 = 0;

/// Set by the loader from the kernel's type information.
#[unsafe(no_mangle)]
static SPLICE: SpliceConfig = SpliceConfig {
    write_seq: 0,
    copied_seq: 0,
    rmem_alloc: 0,
    cookie: 0,
    owned: 0,
    waiting: 0,
    waiters: 0,
    waiter_link: 0,
    waiter_task: 0,
    limit: 0,
};

/// Ports that a workload (netns cookie) opted in for its own connections.
#[map]
static SPLICE_BY_NETNS: HashMap<u64, PortRanges> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Ports of dialled addresses that opted in. Empty while splicing is off.
#[map]
static SPLICE_BY_IP: HashMap<Ip, SplicePorts> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// Opted-in connections between connect() and accept().
#[map]
static OPENER_BY_TUPLE: HashMap<Tuple, SpliceOpener> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// Opted-in connections between applications and the proxy, by the cookie of the proxy's socket.
#[map]
static PAIR_BY_COOKIE: HashMap<u64, SplicePair> = HashMap::with_max_entries(32768, BPF_F_NO_PREALLOC);
/// The members. A closed socket leaves by itself.
#[map]
pub static SPLICED_SOCKETS: SockHash<u64> = SockHash::with_max_entries(65536, 0);
/// Where members' bytes may be put, written by the proxy.
#[map]
pub static REDIRECT_BY_COOKIE: HashMap<u64, SpliceRedirect> =
    HashMap::with_max_entries(32768, BPF_F_NO_PREALLOC);
/// What both sides count of a route.
#[map]
pub static SPLICE_COUNTERS: Array<SpliceCounters> = Array::with_max_entries(32768, BPF_F_MMAPABLE);
/// A member's own cookie, which sk_msg cannot ask for.
#[btf_map]
static COOKIE_BY_SOCKET: SkStorage<u64> = SkStorage::new();

/// What the loader has set.
#[inline(always)]
pub fn config() -> SpliceConfig {
    // SAFETY: a constant that only the loader changes, before the program is there.
    unsafe { core::ptr::read_volatile(&raw const SPLICE) }
}

/// A member's cookie; with `create`, room for it. Null: no member, or no memory.
///
/// # Safety
/// `socket` must be a socket pointer of the program's context.
#[inline(always)]
pub unsafe fn cookie_of(socket: *mut c_void, create: bool) -> *mut u64 {
    let map = core::ptr::addr_of!(COOKIE_BY_SOCKET).cast_mut().cast::<c_void>();
    // SAFETY: the caller's socket, checked by the verifier.
    unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), create as u64).cast() }
}

/// `SocketState::SPLICE` if the connection of a workload to `to`:`port` may be spliced, else 0.
#[inline(always)]
pub fn wanted(netns: u64, to: &Ip, port: u32) -> u32 {
    // SAFETY: entries are replaced whole by user space.
    unsafe {
        let Some(ports) = SPLICE_BY_IP.get(*to) else { return 0 };
        let from = || SPLICE_BY_NETNS.get(netns).is_some_and(|own| own.contains(port));
        if ports.allow(port, from) { SocketState::SPLICE } else { 0 }
    }
}

/// A socket with `SocketState::SPLICE` connects; its source port is chosen, nothing was sent.
///
/// # Safety
/// The context is the kernel's and `state` its socket's.
#[inline(always)]
pub unsafe fn opening(ctx: &SockOpsContext, socket: *mut c_void, state: &SocketState, tuple: &Tuple) {
    // SAFETY: as demanded of the caller.
    unsafe {
        let cookie = bpf_get_socket_cookie(ctx.as_ptr());
        let opener = SpliceOpener { cookie, sock: socket as u64 };
        if OPENER_BY_TUPLE.insert(tuple, opener, BPF_ANY).is_err() {
            count(Outcome::SpliceFull);
            return;
        }
        if state.flags & SocketState::REDIRECTED != 0 {
            let own = cookie_of(socket, true);
            if own.is_null() {
                count(Outcome::SpliceFull);
            } else {
                *own = cookie;
            }
        }
    }
}

/// A connecting socket is connected: an application's becomes a member.
///
/// # Safety
/// The context is the kernel's.
#[inline(always)]
pub unsafe fn established(ctx: &SockOpsContext) {
    // SAFETY: the context's socket.
    unsafe {
        let socket = core::ptr::read_volatile(&raw const (*ctx.ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return;
        }
        let state = socket_state(socket.cast(), false);
        // The cookie may be of an earlier connection of the same socket.
        if state.is_null() || (*state).flags & SocketState::SPLICE == 0 {
            return;
        }
        let own = cookie_of(socket.cast(), false);
        if !own.is_null() {
            add_to_map(ctx, *own);
        }
    }
}

/// A connection that came from an [`opening`] is accepted.
///
/// # Safety
/// The context is the kernel's and `socket` its socket.
#[inline(always)]
pub unsafe fn accepted(ctx: &SockOpsContext, socket: *mut c_void, by_application: bool, tuple: &Tuple) {
    // SAFETY: as demanded of the caller.
    unsafe {
        let Some(opener) = OPENER_BY_TUPLE.get(tuple) else { return };
        let opener = *opener;
        let _ = OPENER_BY_TUPLE.remove(tuple);
        let cookie = bpf_get_socket_cookie(ctx.as_ptr());
        let received = core::ptr::read_volatile(&raw const (*ctx.ops).rcv_nxt);
        let sent = core::ptr::read_volatile(&raw const (*ctx.ops).snd_nxt);
        let (key, pair) = if by_application {
            let pair = SplicePair {
                app: opener.cookie,
                app_sock: opener.sock,
                proxy_sock: socket as u64,
                first: received,
                pad: 0,
            };
            (cookie, pair)
        } else {
            let own = cookie_of(socket, true);
            if own.is_null() {
                count(Outcome::SpliceFull);
                return;
            }
            *own = cookie;
            if !add_to_map(ctx, cookie) {
                return;
            }
            let pair = SplicePair {
                app: cookie,
                app_sock: socket as u64,
                proxy_sock: opener.sock,
                first: sent,
                pad: 0,
            };
            (opener.cookie, pair)
        };
        if PAIR_BY_COOKIE.insert(key, pair, BPF_ANY).is_err() {
            count(Outcome::SpliceFull);
        }
    }
}

/// A connection has ended: forgets what was kept of it.
///
/// # Safety
/// The context is the kernel's.
#[inline(always)]
pub unsafe fn closed(ctx: &SockOpsContext, tuple: &Tuple) {
    // SAFETY: the context's socket.
    unsafe {
        let socket = core::ptr::read_volatile(&raw const (*ctx.ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return;
        }
        let state = socket_state(socket.cast(), false);
        if state.is_null() || (*state).flags & SocketState::SPLICE == 0 {
            return;
        }
        let cookie = bpf_get_socket_cookie(ctx.as_ptr());
        let _ = OPENER_BY_TUPLE.remove(tuple);
        let _ = PAIR_BY_COOKIE.remove(cookie);
        let _ = REDIRECT_BY_COOKIE.remove(cookie);
    }
}

#[inline(always)]
unsafe fn add_to_map(ctx: &SockOpsContext, cookie: u64) -> bool {
    // SAFETY: the kernel's context.
    let joined = unsafe { SPLICED_SOCKETS.update(cookie, &mut *ctx.ops, BPF_ANY).is_ok() };
    count(if joined { Outcome::SpliceJoined } else { Outcome::SpliceFull });
    joined
}
