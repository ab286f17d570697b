//! Shows applications the addresses that they would see without the mesh.
//!
//! cgroup/getpeername4, 6 and getsockname4, 6, kernel 5.8. They also run for the address that accept()
//! returns. If the state is missing, the true kernel address is shown: nothing breaks but the disguise.

use aya_ebpf::{
    EbpfContext, helpers::bpf_get_netns_cookie, macros::cgroup_sock_addr, programs::SockAddrContext,
};
use weft_common::{Ip, SocketState};

use crate::maps::{socket_state, workload};

const GO_ON: i32 = 1;

#[cgroup_sock_addr(getpeername4)]
pub fn weft_getpeername4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        if let Some(state) = state_with(&ctx, SocketState::HIDE_PEER) {
            (*ctx.sock_addr).user_ip4 = state.peer.ip.0[3];
            (*ctx.sock_addr).user_port = u32::from((state.peer.port as u16).to_be());
        }
    }
    GO_ON
}

#[cgroup_sock_addr(getpeername6)]
pub fn weft_getpeername6(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        if let Some(state) = state_with(&ctx, SocketState::HIDE_PEER) {
            set_ip6(&ctx, &state.peer.ip);
            (*ctx.sock_addr).user_port = u32::from((state.peer.port as u16).to_be());
        }
    }
    GO_ON
}

#[cgroup_sock_addr(getsockname4)]
pub fn weft_getsockname4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        let local = Ip::v4((*ctx.sock_addr).user_ip4);
        if local.is_loopback() && state_with(&ctx, SocketState::HIDE_LOCAL).is_some() {
            if let Some(workload) = workload(bpf_get_netns_cookie(ctx.as_ptr())) {
                (*ctx.sock_addr).user_ip4 = workload.ip4.0[3];
            }
        }
    }
    GO_ON
}

#[cgroup_sock_addr(getsockname6)]
pub fn weft_getsockname6(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        let sa = ctx.sock_addr;
        let (a, b) = ((*sa).user_ip6[0], (*sa).user_ip6[1]);
        let (c, d) = ((*sa).user_ip6[2], (*sa).user_ip6[3]);
        let local = Ip([a, b, c, d]);
        if local.is_loopback() && state_with(&ctx, SocketState::HIDE_LOCAL).is_some() {
            if let Some(workload) = workload(bpf_get_netns_cookie(ctx.as_ptr())) {
                let ip = if local.is_v4() { &workload.ip4 } else { &workload.ip6 };
                set_ip6(&ctx, ip);
            }
        }
    }
    GO_ON
}

#[inline(always)]
unsafe fn state_with(ctx: &SockAddrContext, flag: u32) -> Option<&'static SocketState> {
    // SAFETY: the context's socket; its storage lives as long as the socket, which the caller's task holds.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        if socket.is_null() {
            return None;
        }
        let state = socket_state(socket.cast(), false).as_ref()?;
        (state.flags & flag != 0).then_some(state)
    }
}

#[inline(always)]
unsafe fn set_ip6(ctx: &SockAddrContext, ip: &Ip) {
    let sa = ctx.sock_addr;
    // SAFETY: writes of whole words to fields that these programs may write.
    unsafe {
        (*sa).user_ip6[0] = ip.0[0];
        (*sa).user_ip6[1] = ip.0[1];
        (*sa).user_ip6[2] = ip.0[2];
        (*sa).user_ip6[3] = ip.0[3];
    }
}
