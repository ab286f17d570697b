//! How does an application's connect() reach the proxy?
//!
//! cgroup/connect4 and connect6, kernel 6.1 (bpf_set_retval). Runs in the connecting task, before a source
//! port is chosen. A workload's connection that must be captured and cannot be is refused (ECONNREFUSED) or,
//! in fail-open workloads, passed; anything that is not a workload's passes.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_set_retval, bpf_setsockopt},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::debug;
use weft_common::{Addr, Ip, Outcome, SocketState, Verdict, connect as decide, listener_key};

use crate::{
    maps::{PROXIES, count, outbound_served, skipped_subnet, socket_state, workload},
    pass, splice,
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
        match verdict {
            Verdict::Redirect(outcome) => {
                let state = socket_state(socket.cast(), true);
                if state.is_null() {
                    count(Outcome::ConnectNoStorage);
                    bpf_set_retval(-ENOMEM);
                    return REFUSE;
                }
                let splice = splice::wanted(netns, &to, port);
                // By the proxy's leave, and while it lives: as a dead one's fail mode says, otherwise. A port that
                // opted in to splicing is spliced.
                if protocol == IPPROTO_TCP
                    && splice == 0
                    && let Some(chosen) = pass::choose(netns, &to, port)
                    && pass::mark(socket.cast(), &chosen)
                {
                    let addr = chosen.backend.addr;
                    let rewritten = addr.ip != to || addr.port != port;
                    let hide = if rewritten { SocketState::HIDE_PEER } else { 0 };
                    *state = SocketState { peer: Addr { ip: to, port }, flags: SocketState::DIRECT | hide };
                    if rewritten {
                        point_at(ctx, &addr.ip, addr.port as u16, socket_v6);
                    }
                    count(Outcome::ConnectDirect);
                    debug!(ctx, "connect of netns {} to port {} goes directly", netns, port);
                    return PASS;
                }
                *state = SocketState {
                    peer: Addr { ip: to, port },
                    flags: SocketState::REDIRECTED
                        | SocketState::HIDE_PEER
                        | SocketState::HIDE_LOCAL
                        | splice,
                };
                point_at_proxy(ctx, &to, workload.outbound_v4, workload.outbound_v6, socket_v6);
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
            Verdict::Pass(outcome) => {
                forget(socket.cast());
                count(outcome);
                debug!(ctx, "connect of netns {} to port {} passed: {}", netns, port, outcome as u32);
                PASS
            }
            Verdict::Refuse(outcome) => {
                forget(socket.cast());
                count(outcome);
                debug!(ctx, "connect of netns {} to port {} refused", netns, port);
                bpf_set_retval(-ECONNREFUSED);
                REFUSE
            }
        }
    }
}

/// A socket that was redirected once and is used again after connect(AF_UNSPEC) must not go on telling the
/// old story.
#[inline(always)]
unsafe fn forget(socket: *mut c_void) {
    // SAFETY: the context's socket.
    unsafe {
        let state = socket_state(socket, false);
        if !state.is_null() {
            (*state).flags = 0;
        }
    }
}

#[inline(always)]
unsafe fn point_at_proxy(ctx: &SockAddrContext, to: &Ip, port_v4: u16, port_v6: u16, socket_v6: bool) {
    // SAFETY: the caller's context.
    unsafe {
        if to.is_v4() {
            // v4-mapped where the socket is IPv6's.
            point_at(ctx, &Ip::LOCALHOST_V4, port_v4, socket_v6);
        } else {
            point_at(ctx, &Ip::LOCALHOST_V6, port_v6, socket_v6);
        }
    }
}

/// Rewrites the address: to one of the same family, so that of a v4-mapped one the head is right already.
#[inline(always)]
unsafe fn point_at(ctx: &SockAddrContext, ip: &Ip, port: u16, socket_v6: bool) {
    let sa = ctx.sock_addr;
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
        (*sa).user_port = u32::from(port.to_be());
    }
}
