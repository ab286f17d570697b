//! Chooses where a redirected connection really goes, so that it collides with no other of the same source.
//!
//! Called by connect.rs. Needs kernel 5.2 (bpf_skc_lookup_tcp). Sources whose port the kernel still has to choose need
//! no check: it takes one that is free.

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::{bpf_sk_release, bpf_skc_lookup_tcp},
    programs::SockAddrContext,
};
use weft_common::{ATTEMPTS, Addr, Ip, RedirectTargets, SocketState, Workload};

use crate::maps::{CONFIG, socket_state};

const TCP_LISTEN: u32 = 10;
const TUPLE_V4: u32 = 12;
const TUPLE_V6: u32 = 36;

/// The target of the connection that the context's socket opens to `to`.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn target(ctx: &SockAddrContext, socket: *mut bpf_sock, workload: &Workload, to: &Addr) -> Addr {
    let is_v4 = to.ip.is_v4();
    let single = if is_v4 {
        Addr { ip: Ip::LOCALHOST_V4, port: u32::from(workload.outbound_v4) }
    } else {
        Addr { ip: Ip::LOCALHOST_V6, port: u32::from(workload.outbound_v6) }
    };
    let Some(config) = CONFIG.get(0) else { return single };
    if workload.slot == 0 || !(is_v4 || workload.is(Workload::V6_TARGETS)) {
        return single;
    }
    let targets = RedirectTargets::new(&config.redirect_key, workload.slot, &to.ip, to.port);
    if !is_v4 {
        // No two of 2^64 are the same.
        return Addr { ip: targets.v6(), port: single.port };
    }
    let first = targets.v4(0);
    // SAFETY: the caller's socket.
    unsafe {
        if field!((*socket).src_port) == 0 {
            return first;
        }
        let mut attempt = 0;
        while attempt < ATTEMPTS {
            let target = targets.v4(attempt);
            if !is_taken(ctx, socket, &Ip::LOCALHOST_V4, &target, to) {
                return target;
            }
            attempt += 1;
        }
    }
    first
}

/// Whether the socket's source already has a connection to `remote` that was meant for something else than `dialled`.
/// `unbound`: the source address if the socket is bound to none.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn is_taken(
    ctx: &SockAddrContext,
    socket: *mut bpf_sock,
    unbound: &Ip,
    remote: &Addr,
    dialled: &Addr,
) -> bool {
    // SAFETY: the caller's socket; what is looked up is released.
    unsafe {
        let port = (field!((*socket).src_port) as u16).to_be();
        let remote_port = (remote.port as u16).to_be();
        let found = if remote.ip.is_v4() {
            let bound = field!((*socket).src_ip4);
            let local = if bound == 0 { unbound.0[3] } else { bound };
            // As a packet from the other end has them.
            let ends = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: remote.ip.0[3],
                daddr: local,
                sport: remote_port,
                dport: port,
            };
            look_up(ctx, bpf_sock_tuple__bindgen_ty_1 { ipv4: ends }, TUPLE_V4)
        } else {
            let bound = [
                field!((*socket).src_ip6[0]),
                field!((*socket).src_ip6[1]),
                field!((*socket).src_ip6[2]),
                field!((*socket).src_ip6[3]),
            ];
            let local = if bound == [0; 4] { unbound.0 } else { bound };
            let ends = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
                saddr: remote.ip.0,
                daddr: local,
                sport: remote_port,
                dport: port,
            };
            look_up(ctx, bpf_sock_tuple__bindgen_ty_1 { ipv6: ends }, TUPLE_V6)
        };
        if found.is_null() {
            return false;
        }
        // The application may listen on the port that it connects from.
        let is_connection = field!((*found).state) != TCP_LISTEN;
        let state = socket_state(found.cast(), false);
        let same = if state.is_null() {
            *remote == *dialled
        } else if (*state).flags & (SocketState::REDIRECTED | SocketState::DIRECT) != 0 {
            (*state).peer == *dialled
        } else {
            *remote == *dialled
        };
        bpf_sk_release(found.cast());
        is_connection && !same
    }
}

#[inline(always)]
unsafe fn look_up(ctx: &SockAddrContext, ends: bpf_sock_tuple__bindgen_ty_1, size: u32) -> *mut bpf_sock {
    let mut tuple = bpf_sock_tuple { __bindgen_anon_1: ends };
    // SAFETY: the kernel reads `size` bytes of the tuple.
    unsafe { bpf_skc_lookup_tcp(ctx.as_ptr(), &mut tuple, size, BPF_F_CURRENT_NETNS as u64, 0) }
}
