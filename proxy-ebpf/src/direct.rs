//! Direct connections: from application to application on one node, without the proxy.
//!
//! No program of its own: called by connect (the choice), sockops (flows, figures) and sk_lookup (this very
//! connection passes). Kernel 5.8 (ring buffer). If a step fails, the connection goes through the proxy or is
//! to be treated like any other.

use core::{
    ffi::c_void,
    ptr::{addr_of, addr_of_mut},
};

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_NO_PREALLOC, bpf_sock_ops},
    btf_maps::SkStorage,
    helpers::{
        bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_setsockopt, bpf_sk_storage_get,
    },
    macros::{btf_map, map},
    maps::{HashMap, RingBuf},
    programs::SockOpsContext,
};
use weft_common::{
    Addr, DirectBackend, DirectEvent, DirectGrant, DirectKey, DirectSocket, Ip, ListenerPort, OpenDirect,
    Outcome, PendingDirect, SocketState, Tuple,
};

use crate::{
    direct_quota,
    maps::{NETNS_BY_IP, count, listens, socket_state, workload},
};

/// What may go directly. Not pinned: a grant ends with the proxy that made it.
#[map]
static DIRECT_GRANTS: HashMap<DirectKey, DirectGrant> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// The numbers of the grants in force, including a predecessor's during a takeover.
#[map]
static VALID_GRANTS: HashMap<u64, u8> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);
/// Ports whose applications speak first. Not pinned: a successor detects it anew.
#[map]
static SERVER_FIRST_PORTS: HashMap<ListenerPort, u8> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);
/// Events of direct connections, for the proxy to count. Not pinned: each proxy reads its own.
#[map]
static DIRECT_EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// Connections between connect() and accept().
#[map]
static DIRECT_BY_TUPLE: HashMap<Tuple, PendingDirect> = HashMap::with_max_entries(65536, BPF_F_NO_PREALLOC);
/// Both ends of the connections that are open, by socket cookie.
#[map]
static OPEN_DIRECT_BY_COOKIE: HashMap<u64, OpenDirect> = HashMap::with_max_entries(131072, BPF_F_NO_PREALLOC);
#[btf_map]
static DIRECT_BY_SOCKET: SkStorage<DirectSocket> = SkStorage::new();

const LOOPBACK_DEVICE: u32 = 1;
const SOL_SOCKET: i32 = 1;
const SO_BINDTOIFINDEX: i32 = 62;
const BPF_ANY: u64 = 0;

const TCP_FIN_WAIT2: u32 = 5;
const TCP_CLOSE: u32 = 7;
const TCP_CLOSE_WAIT: u32 = 8;
const TCP_LAST_ACK: u32 = 9;
const TCP_CLOSING: u32 = 11;

/// Where a connection may go directly.
pub struct Chosen {
    grant: u64,
    index: u32,
    pub backend: &'static DirectBackend,
}

/// A backend for a connection of `netns` to `to`:`port`, if it may go directly.
#[inline(always)]
pub fn choose(netns: u64, to: &Ip, port: u32) -> Option<Chosen> {
    let key = DirectKey { netns, to: Addr { ip: *to, port }, pad: 0 };
    // SAFETY: entries are replaced whole by user space.
    let grant = unsafe { DIRECT_GRANTS.get(key)? };
    let len = grant.len;
    if len == 0 {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let random = unsafe { bpf_get_prandom_u32() };
    let index = if len == 1 { 0 } else { random % len } & (DirectGrant::BACKENDS as u32 - 1);
    let backend = &grant.backends[index as usize];
    let (there, addr) = (backend.netns, &backend.addr);
    // SAFETY: as above.
    unsafe {
        // The pod or its application may have gone since the grant.
        if NETNS_BY_IP.get(addr.ip).is_none_or(|owner| *owner != there) {
            return None;
        }
        if backend.learned != 0
            && SERVER_FIRST_PORTS.get(ListenerPort { netns: there, port: addr.port, pad: 0 }).is_none()
        {
            return None;
        }
        // Where nobody listens the proxy says so, and tries another endpoint.
        if !listens(workload(there)?, there, &addr.ip, addr.port) {
            return None;
        }
        if direct_quota::is_used_up(netns) {
            count(Outcome::DirectQuota);
            return None;
        }
    }
    Some(Chosen { grant: grant.id, index, backend })
}

/// Marks a socket that is about to connect; false: no memory.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn mark(socket: *mut c_void, chosen: &Chosen) -> bool {
    // SAFETY: the caller's socket.
    unsafe {
        let state = direct_socket(socket, true);
        if state.is_null() {
            return false;
        }
        (*state).grant = chosen.grant;
        (*state).destination = chosen.backend.netns;
        (*state).since = bpf_ktime_get_ns();
        (*state).received = 0;
        (*state).backend = chosen.index;
        (*state).flags = DirectSocket::SOURCE;
        true
    }
}

/// A marked socket sends its SYN.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn on_connect(netns: u64, socket: *mut c_void, local: Addr, remote: Addr) {
    // SAFETY: the caller's socket.
    unsafe {
        let state = direct_socket(socket, false);
        if state.is_null() {
            return;
        }
        // Bound to an address that is not the pod's, it does not go by the pod's identity.
        if NETNS_BY_IP.get(local.ip).is_none_or(|owner| *owner != netns) {
            return;
        }
        // Withdrawn since connect() looked.
        let grant = (*state).grant;
        if VALID_GRANTS.get(grant).is_none() {
            return;
        }
        let flow = PendingDirect {
            grant,
            source: netns,
            destination: (*state).destination,
            backend: (*state).backend,
            answered: 0,
            sent: 0,
            expected: 0,
        };
        let key = Tuple { netns: 0, local, remote };
        if DIRECT_BY_TUPLE.insert(key, flow, BPF_ANY).is_err() {
            count(Outcome::DirectFull);
            return;
        }
        direct_quota::add_pending(netns);
    }
}

/// A marked socket has had the answer to its SYN; its own answer to that has not left yet.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn on_answered(ctx: &SockOpsContext, netns: u64, socket: *mut c_void, local: Addr, remote: Addr) {
    // SAFETY: the caller's socket.
    unsafe {
        let (sent, expected) = (field!((*ctx.ops).snd_una), field!((*ctx.ops).rcv_nxt));
        let state = direct_socket(socket, false);
        if state.is_null() {
            return;
        }
        let key = Tuple { netns: 0, local, remote };
        if let Some(flow) = DIRECT_BY_TUPLE.get_ptr_mut(key) {
            (*flow).sent = sent;
            (*flow).expected = expected;
            (*flow).answered = 1;
        }
        (*state).flags |= DirectSocket::ESTABLISHED;
        direct_quota::add_open(netns);
        record_open(ctx, netns, state, local, remote);
        report(ctx, DirectEvent::OPENED, netns, state, local, remote, 0);
    }
}

/// Whether this SYN (or the last packet of its handshake) is that of a connection that goes directly. Only while a
/// proxy runs: a SYN can be held back until its grant, or the proxy that granted it, is gone.
#[inline(always)]
pub fn is_expected(opener: &Tuple, netns: u64) -> bool {
    // SAFETY: values are plain integers.
    unsafe {
        let Some(flow) = DIRECT_BY_TUPLE.get(opener) else { return false };
        let grant = flow.grant;
        flow.destination == netns && VALID_GRANTS.get(grant).is_some()
    }
}

/// A connection was accepted in `netns`; false: not a direct one.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn on_accepted(ctx: &SockOpsContext, netns: u64, socket: *mut c_void, opener: Tuple) -> bool {
    // SAFETY: the caller's socket.
    unsafe {
        let (sent, expected) = (field!((*ctx.ops).snd_nxt), field!((*ctx.ops).rcv_nxt));
        let Some(flow) = DIRECT_BY_TUPLE.get(opener) else { return false };
        if flow.destination != netns {
            return false;
        }
        // Withdrawn, it may have come to the application nevertheless: its SYN was earlier. It is among the live ones
        // then, which are looked through once more.
        let flow = *flow;
        // Who finished the handshake must be who began it: the source's own socket has seen the answer and both
        // agree on the numbers. A TCP Fast Open child, which comes before that, cannot be told from a forgery.
        let genuine = flow.answered != 0 && flow.sent == expected && flow.expected == sent;
        let storage = socket_state(socket, true);
        let state = direct_socket(socket, true);
        if genuine {
            end_pending(&opener, flow.source);
        } else {
            count(Outcome::DirectForged);
            let mut loopback: u32 = LOOPBACK_DEVICE;
            bpf_setsockopt(ctx.as_ptr(), SOL_SOCKET, SO_BINDTOIFINDEX, addr_of_mut!(loopback).cast(), 4);
        }
        if storage.is_null() || state.is_null() {
            count(Outcome::DirectNoStorage);
            return true;
        }
        let grant = flow.grant;
        // By an earlier SYN, or through the proxy after all: there is no grant.
        (*state).grant = if VALID_GRANTS.get(grant).is_some() { grant } else { 0 };
        (*state).destination = netns;
        (*state).since = bpf_ktime_get_ns();
        (*state).received = 0;
        (*state).backend = flow.backend;
        (*state).flags = DirectSocket::DESTINATION | DirectSocket::ESTABLISHED;
        let (local, remote) = (opener.remote, opener.local);
        if !genuine {
            report(ctx, DirectEvent::FORGED, netns, state, local, remote, 0);
            return true;
        }
        (*storage).flags |= SocketState::DIRECT;
        count(Outcome::DirectAccepted);
        record_open(ctx, netns, state, local, remote);
        report(ctx, DirectEvent::OPENED, netns, state, local, remote, 0);
        true
    }
}

/// A socket with `SocketState::DIRECT` has changed its state.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn on_state(
    ctx: &SockOpsContext,
    netns: u64,
    socket: *mut c_void,
    old: u32,
    new: u32,
    local: Addr,
    remote: Addr,
) {
    // SAFETY: the caller's socket.
    unsafe {
        let received = field!((*ctx.ops).bytes_received);
        let state = direct_socket(socket, false);
        if state.is_null() {
            return;
        }
        match new {
            TCP_FIN_WAIT2 => {
                (*state).flags |= DirectSocket::FIN_SENT;
                (*state).received = received;
            }
            TCP_CLOSE_WAIT | TCP_CLOSING => (*state).flags |= DirectSocket::FIN_RECEIVED,
            TCP_CLOSE => {
                if old == TCP_LAST_ACK || old == TCP_CLOSING {
                    (*state).flags |= DirectSocket::FIN_SENT;
                }
                // An orphan leaves this state at once, without the other side's FIN.
                if old == TCP_FIN_WAIT2 && received > (*state).received {
                    (*state).flags |= DirectSocket::FIN_RECEIVED;
                }
                if (*state).flags & DirectSocket::SOURCE != 0 {
                    end_pending(&Tuple { netns: 0, local, remote }, netns);
                }
                if (*state).flags & DirectSocket::ESTABLISHED != 0 {
                    if (*state).flags & DirectSocket::SOURCE != 0 {
                        direct_quota::remove_open(netns);
                    }
                    let _ = OPEN_DIRECT_BY_COOKIE.remove(bpf_get_socket_cookie(ctx.as_ptr()));
                    report(ctx, DirectEvent::CLOSED, netns, state, local, remote, old);
                } else {
                    report(ctx, DirectEvent::FAILED, netns, state, local, remote, old);
                }
                (*state).flags = 0;
                (*state).grant = 0;
            }
            _ => {}
        }
    }
}

/// An application has stopped listening: what was learned of the port was learned of that application.
#[inline(always)]
pub fn on_unlisten(netns: u64, port: u32) {
    let _ = SERVER_FIRST_PORTS.remove(ListenerPort { netns, port, pad: 0 });
}

/// The flow has come to an end.
#[inline(always)]
fn end_pending(opener: &Tuple, source: u64) {
    if DIRECT_BY_TUPLE.remove(opener).is_ok() {
        direct_quota::remove_pending(source);
    }
}

#[inline(always)]
unsafe fn record_open(
    ctx: &SockOpsContext,
    netns: u64,
    state: *const DirectSocket,
    local: Addr,
    remote: Addr,
) {
    // SAFETY: the caller's storage.
    unsafe {
        let side = (*state).flags & (DirectSocket::SOURCE | DirectSocket::DESTINATION);
        let live = OpenDirect { netns, destination: (*state).destination, local, remote, side, pad: 0 };
        if OPEN_DIRECT_BY_COOKIE.insert(bpf_get_socket_cookie(ctx.as_ptr()), live, BPF_ANY).is_err() {
            count(Outcome::OpenDirectFull);
        }
    }
}

#[inline(always)]
unsafe fn report(
    ctx: &SockOpsContext,
    kind: u32,
    netns: u64,
    state: *const DirectSocket,
    local: Addr,
    remote: Addr,
    was: u32,
) {
    // SAFETY: the caller's context and storage; the reserved room is the size of an event.
    unsafe {
        let ops: *mut bpf_sock_ops = ctx.ops;
        let (acked, received) = (field!((*ops).bytes_acked), field!((*ops).bytes_received));
        let (srtt, retransmits) = (field!((*ops).srtt_us), field!((*ops).total_retrans));
        let cookie = bpf_get_socket_cookie(ctx.as_ptr());
        let Some(mut room) = DIRECT_EVENTS.reserve::<DirectEvent>(0) else {
            count(Outcome::DirectLost);
            return;
        };
        let flags = (*state).flags;
        let is = |flag: u32| u64::from(flags & flag != 0);
        // The kernel counts a SYN and a FIN like a byte each; the accepted end's SYN is not in its figures.
        let syn = is(DirectSocket::SOURCE);
        let event = room.as_mut_ptr();
        (*event).pass = (*state).grant;
        (*event).cookie = cookie;
        (*event).ends.netns = netns;
        (*event).ends.local = local;
        (*event).ends.remote = remote;
        (*event).kind = kind;
        (*event).side = flags & (DirectSocket::SOURCE | DirectSocket::DESTINATION);
        (*event).backend = (*state).backend;
        (*event).state = was;
        (*event).sent = acked.saturating_sub(syn + is(DirectSocket::FIN_SENT));
        (*event).received = received.saturating_sub(is(DirectSocket::FIN_RECEIVED));
        (*event).duration = bpf_ktime_get_ns() - (*state).since;
        // The kernel keeps it in eighths.
        (*event).rtt = srtt >> 3;
        (*event).retransmits = retransmits;
        room.submit(0);
    }
}

/// What is kept with a socket of a direct connection; with `create`, made if there is none. Null: none.
#[inline(always)]
unsafe fn direct_socket(socket: *mut c_void, create: bool) -> *mut DirectSocket {
    let map = addr_of!(DIRECT_BY_SOCKET).cast_mut().cast::<c_void>();
    // SAFETY: the caller's socket, checked by the verifier.
    unsafe { bpf_sk_storage_get(map, socket, core::ptr::null_mut(), create as u64).cast() }
}
