//! Redirects an application's connect() to the proxy.
//!
//! cgroup/connect4 and connect6, kernel 6.1 (bpf_set_retval). Runs in the connecting task, before a source
//! port is chosen. A workload's connection that must be captured and cannot be is refused (ECONNREFUSED) or,
//! in fail-open workloads, passed; anything that is not a workload's passes.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock,
    helpers::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_set_retval, bpf_setsockopt},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::debug;
use weft_common::{Addr, Ip, Outcome, SocketState, Verdict, Workload, connect as decide, listener_key};

use crate::{
    direct,
    maps::{HANDSHAKES_BY_NETNS, PROXIES, count, outbound_served, skipped_subnet, socket_state, workload},
    mptcp, quota, redirect, splice,
};

const PASS: i32 = 1;
const REFUSE: i32 = 0;
const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;
const SOL_SOCKET: i32 = 1;
const SO_BINDTOIFINDEX: i32 = 62;
const ECONNREFUSED: i32 = 111;
const ENOMEM: i32 = 12;

#[cgroup_sock_addr(connect4)]
pub fn weft_connect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        let ip = Ip::v4((*ctx.sock_addr).user_ip4);
        on_connect(&ctx, ip, false)
    }
}

#[cgroup_sock_addr(connect6)]
pub fn weft_connect6(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        let sa = ctx.sock_addr;
        let (a, b) = ((*sa).user_ip6[0], (*sa).user_ip6[1]);
        let (c, d) = ((*sa).user_ip6[2], (*sa).user_ip6[3]);
        on_connect(&ctx, Ip([a, b, c, d]), true)
    }
}

#[inline(always)]
unsafe fn on_connect(ctx: &SockAddrContext, to: Ip, socket_v6: bool) -> i32 {
    let sa = ctx.sock_addr;
    // SAFETY: fields of the kernel's context, each read where the verifier allows it.
    unsafe {
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        let Some(workload) = workload(netns) else { return PASS };
        let (kind, protocol) = ((*sa).type_, (*sa).protocol);
        if kind != SOCK_STREAM || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP) {
            count(Outcome::ConnectNotTcp);
            return PASS;
        }
        // By cgroup: a mark can be set by any pod with NET_ADMIN, a cgroup cannot be entered from a pod.
        if PROXIES.get(bpf_get_current_cgroup_id()).is_some() {
            count(Outcome::ConnectProxy);
            return PASS;
        }
        let socket = (*sa).__bindgen_anon_1.sk;
        if socket.is_null() {
            return PASS;
        }
        let port = u32::from(u16::from_be((*sa).user_port as u16));
        let key = listener_key(netns, !to.is_v4());
        let verdict = decide(workload, &to, port, || skipped_subnet(netns, &to), || outbound_served(key));
        let multipath = mptcp::socket_of(socket);
        match verdict {
            Verdict::Redirect(outcome) => {
                // Without an entry sk_lookup would take the connection for the application's own.
                if quota::is_used_up(&HANDSHAKES_BY_NETNS, netns, Workload::MAX_HANDSHAKES) {
                    forget(socket.cast(), multipath);
                    count(Outcome::HandshakeQuota);
                    bpf_set_retval(-ECONNREFUSED);
                    return REFUSE;
                }
                let state = socket_state(socket.cast(), true);
                if state.is_null() {
                    count(Outcome::ConnectNoStorage);
                    bpf_set_retval(-ENOMEM);
                    return REFUSE;
                }
                let peer = Addr { ip: to, port };
                // The kernel before 6.18 takes a multipath socket's subflow for another kind of socket once it is in a
                // map of sockets.
                let splice = if multipath.is_null() { splice::wanted(netns, &to, port) } else { 0 };
                // Only with a grant of a running proxy; without one the fail mode decides. A port that opted in to
                // splicing is spliced.
                if protocol == IPPROTO_TCP
                    && splice == 0
                    && let Some(chosen) = direct::choose(netns, &to, port)
                    && is_free(ctx, socket, workload, &chosen.backend.addr, &peer)
                    && direct::mark(socket.cast(), &chosen)
                {
                    let addr = chosen.backend.addr;
                    let rewritten = addr != peer;
                    let hide = if rewritten { SocketState::HIDE_PEER } else { 0 };
                    *state = SocketState { peer, flags: SocketState::DIRECT | hide };
                    show(multipath, &peer, hide);
                    if rewritten {
                        point_at(ctx, &addr, socket_v6);
                    }
                    count(Outcome::ConnectDirect);
                    debug!(ctx, "connect of netns {} to port {} goes directly", netns, port);
                    return PASS;
                }
                let hide = SocketState::HIDE_PEER | SocketState::HIDE_LOCAL;
                *state = SocketState { peer, flags: SocketState::REDIRECTED | hide | splice };
                show(multipath, &peer, hide);
                point_at(ctx, &redirect::target(ctx, socket, workload, &peer), socket_v6);
                if (*socket).bound_dev_if > 1 {
                    // Bound to eth0, it could not reach loopback.
                    let mut any: u32 = 0;
                    bpf_setsockopt(
                        ctx.as_ptr(),
                        SOL_SOCKET,
                        SO_BINDTOIFINDEX,
                        core::ptr::addr_of_mut!(any).cast::<c_void>(),
                        4,
                    );
                }
                count(outcome);
                debug!(ctx, "connect of netns {} to port {} redirected", netns, port);
                PASS
            }
            Verdict::Bypass(outcome) => {
                forget(socket.cast(), multipath);
                count(outcome);
                debug!(ctx, "connect of netns {} to port {} passed: {}", netns, port, outcome as u32);
                PASS
            }
            Verdict::Refuse(outcome) => {
                forget(socket.cast(), multipath);
                count(outcome);
                debug!(ctx, "connect of netns {} to port {} refused", netns, port);
                bpf_set_retval(-ECONNREFUSED);
                REFUSE
            }
        }
    }
}

/// Whether the connection can go directly to `backend` beside the others of its source. Without a mesh, connections to
/// two services have two remote ends, even if their backend is the same.
#[inline(always)]
unsafe fn is_free(
    ctx: &SockAddrContext,
    socket: *mut bpf_sock,
    workload: &Workload,
    backend: &Addr,
    dialled: &Addr,
) -> bool {
    // SAFETY: the context's socket.
    unsafe {
        if core::ptr::read_volatile(&raw const (*socket).src_port) == 0 {
            return !workload.is(Workload::FEW_PORTS) || backend == dialled;
        }
        let own = if backend.ip.is_v4() { &workload.ip4 } else { &workload.ip6 };
        !redirect::is_taken(ctx, socket, own, backend, dialled)
    }
}

/// Has a multipath socket (null: there is none) answer getpeername() and getsockname() as its subflow would.
#[inline(always)]
unsafe fn show(multipath: *mut c_void, peer: &Addr, hide: u32) {
    if multipath.is_null() {
        return;
    }
    // SAFETY: the multipath socket of the context's.
    unsafe {
        let state = socket_state(multipath, true);
        // Without memory it shows the kernel's addresses.
        if !state.is_null() {
            *state = SocketState { peer: *peer, flags: hide };
        }
    }
}

/// Clears what was kept with a socket that is used again after connect(AF_UNSPEC).
#[inline(always)]
unsafe fn forget(socket: *mut c_void, multipath: *mut c_void) {
    // SAFETY: the context's socket.
    unsafe {
        let state = socket_state(socket, false);
        if !state.is_null() {
            (*state).flags = 0;
        }
        if !multipath.is_null() {
            let state = socket_state(multipath, false);
            if !state.is_null() {
                (*state).flags = 0;
            }
        }
    }
}

/// Rewrites the address: to one of the same family, so that of a v4-mapped one the head is right already.
#[inline(always)]
unsafe fn point_at(ctx: &SockAddrContext, to: &Addr, socket_v6: bool) {
    let (sa, ip) = (ctx.sock_addr, &to.ip);
    // SAFETY: writes of whole words to the fields that connect programs may write.
    unsafe {
        if socket_v6 {
            (*sa).user_ip6[0] = ip.0[0];
            (*sa).user_ip6[1] = ip.0[1];
            (*sa).user_ip6[2] = ip.0[2];
            (*sa).user_ip6[3] = ip.0[3];
        } else {
            (*sa).user_ip4 = ip.0[3];
        }
        (*sa).user_port = u32::from((to.port as u16).to_be());
    }
}
