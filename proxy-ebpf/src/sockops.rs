//! Hands the original destination to the socket that the proxy accepts, and records who listens where.
//!
//! cgroup/sock_ops, kernel 5.15 (netns cookie). TCP_CONNECT_CB runs with the source port chosen and before the
//! SYN leaves, PASSIVE_ESTABLISHED_CB before accept() can return the child: the hand-over cannot be late. When
//! it fails (map full, no memory) the child has no state and the proxy refuses the connection.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_TCP_CLOSE,
        BPF_TCP_LISTEN, bpf_sock_ops,
    },
    helpers::{bpf_get_netns_cookie, bpf_sock_ops_cb_flags_set},
    macros::sock_ops,
    programs::SockOpsContext,
};
use weft_common::{Addr, Ip, ListenKey, Outcome, PeerInfo, SocketState, Tuple, Workload};

use crate::{
    direct,
    maps::{
        CONFIG, HANDSHAKES_BY_NETNS, HOST_CONNECTIONS, LISTENERS_BY_ADDR, LISTENERS_BY_NETNS, NETNS_BY_IP,
        ORIGINAL_DST_BY_TUPLE, count, socket_state, workload,
    },
    quota, splice,
};

const AF_INET: u32 = 2;
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

#[sock_ops]
pub fn weft_sockops(ctx: SockOpsContext) -> u32 {
    // SAFETY: the context is the kernel's.
    unsafe {
        match ctx.op() {
            BPF_SOCK_OPS_TCP_CONNECT_CB => on_connect(&ctx),
            BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => on_answered(&ctx),
            BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => on_accepted(&ctx),
            BPF_SOCK_OPS_TCP_LISTEN_CB => on_listen(&ctx),
            BPF_SOCK_OPS_STATE_CB => on_state(&ctx),
            _ => {}
        }
    }
    0
}

#[inline(always)]
unsafe fn on_connect(ctx: &SockOpsContext) {
    // SAFETY: as in the program.
    unsafe {
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        if is_host(netns) {
            let (local, remote) = ends(ctx.ops);
            if NETNS_BY_IP.get(remote.ip).is_none() {
                return;
            }
            if HOST_CONNECTIONS.insert(Tuple { netns: 0, local, remote }, 1, BPF_ANY).is_err() {
                count(Outcome::HostFull);
            }
            watch_state(ctx);
            return;
        }
        if workload(netns).is_none() {
            return;
        }
        let socket = field!((*ctx.ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return;
        }
        let state = socket_state(socket.cast::<c_void>(), false);
        if state.is_null() {
            return;
        }
        let (local, remote) = ends(ctx.ops);
        if (*state).flags & SocketState::DIRECT != 0 {
            direct::on_connect(netns, socket.cast(), local, remote);
            watch_state(ctx);
            return;
        }
        let Some(info) = (*state).handed_over() else { return };
        let tuple = Tuple { netns, local, remote };
        publish(&tuple, &info);
        if info.flags & SocketState::SPLICE != 0 {
            splice::opening(ctx, socket.cast::<c_void>(), &*state, &tuple);
        }
        watch_state(ctx);
    }
}

#[inline(always)]
unsafe fn on_answered(ctx: &SockOpsContext) {
    // SAFETY: as in the program.
    unsafe {
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        if workload(netns).is_none() {
            return;
        }
        let socket = field!((*ctx.ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return;
        }
        let state = socket_state(socket.cast::<c_void>(), false);
        if state.is_null() {
            return;
        }
        if (*state).flags & SocketState::DIRECT == 0 {
            splice::established(ctx);
            return;
        }
        let (local, remote) = ends(ctx.ops);
        direct::on_answered(ctx, netns, socket.cast(), local, remote);
    }
}

#[inline(always)]
unsafe fn on_accepted(ctx: &SockOpsContext) {
    // SAFETY: as in the program.
    unsafe {
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        if workload(netns).is_none() {
            return;
        }
        let (local, remote) = ends(ctx.ops);
        let tuple = Tuple { netns, local: remote, remote: local };
        let socket = field!((*ctx.ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return;
        }
        let Some(info) = ORIGINAL_DST_BY_TUPLE.get(tuple) else {
            let opener = Tuple { netns: 0, ..tuple };
            if direct::on_accepted(ctx, netns, socket.cast(), opener) {
                watch_state(ctx);
            } else {
                let _ = HOST_CONNECTIONS.remove(opener);
            }
            return;
        };
        let info = *info;
        withdraw(&tuple);
        let state = socket_state(socket.cast::<c_void>(), true);
        if state.is_null() {
            count(Outcome::PeerInfoNoStorage);
            return;
        }
        *state = SocketState { peer: info.addr, flags: info.flags };
        count(Outcome::PeerInfoHandedOver);
        if info.flags & SocketState::SPLICE != 0 {
            let by_application = info.flags & SocketState::ORIGINAL != 0;
            splice::accepted(ctx, socket.cast::<c_void>(), by_application, &tuple);
            watch_state(ctx);
        }
    }
}

#[inline(always)]
unsafe fn on_listen(ctx: &SockOpsContext) {
    // SAFETY: as in the program.
    unsafe {
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        if workload(netns).is_none() {
            return;
        }
        let key = listen_key(ctx, netns);
        if key.ip.is_loopback() {
            return;
        }
        if !add(&key, 1) {
            if !quota::take(&LISTENERS_BY_NETNS, netns, Workload::MAX_LISTENERS) {
                count(Outcome::ListenerQuota);
                return;
            }
            if LISTENERS_BY_ADDR.insert(key, 1, BPF_NOEXIST).is_err() {
                quota::give_back(&LISTENERS_BY_NETNS, netns);
                if !add(&key, 1) {
                    count(Outcome::ListenerFull);
                    return;
                }
            }
        }
        count(Outcome::ListenerOpened);
        watch_state(ctx);
    }
}

#[inline(always)]
unsafe fn on_state(ctx: &SockOpsContext) {
    // SAFETY: as in the program.
    unsafe {
        let args = (*ctx.ops).__bindgen_anon_1.args;
        let (old, new) = (args[0], args[1]);
        let netns = bpf_get_netns_cookie(ctx.as_ptr());
        let socket = field!((*ctx.ops).__bindgen_anon_2.sk);
        if !socket.is_null() && !is_host(netns) {
            let state = socket_state(socket.cast::<c_void>(), false);
            // One that could not connect may listen afterwards.
            if !state.is_null() && (*state).flags & SocketState::DIRECT != 0 && old != BPF_TCP_LISTEN {
                let (local, remote) = ends(ctx.ops);
                direct::on_state(ctx, netns, socket.cast(), old, new, local, remote);
                return;
            }
        }
        if new != BPF_TCP_CLOSE {
            return;
        }
        if old == BPF_TCP_LISTEN {
            let key = listen_key(ctx, netns);
            direct::on_unlisten(netns, key.port);
            if add(&key, u64::MAX) {
                count(Outcome::ListenerClosed);
            }
            return;
        }
        // Whatever it had come to: where the other end never got so far (its accept queue was full), the entry is
        // still there.
        let (local, remote) = ends(ctx.ops);
        if is_host(netns) {
            let _ = HOST_CONNECTIONS.remove(Tuple { netns: 0, local, remote });
        } else {
            let tuple = Tuple { netns, local, remote };
            withdraw(&tuple);
            splice::closed(ctx, &tuple);
        }
    }
}

/// Publishes what the accepted socket at the other end is to get.
#[inline(always)]
fn publish(tuple: &Tuple, info: &PeerInfo) {
    if !quota::take(&HANDSHAKES_BY_NETNS, tuple.netns, Workload::MAX_HANDSHAKES) {
        count(Outcome::HandshakeQuota);
        return;
    }
    if ORIGINAL_DST_BY_TUPLE.insert(tuple, info, BPF_NOEXIST).is_ok() {
        return;
    }
    quota::give_back(&HANDSHAKES_BY_NETNS, tuple.netns);
    // One of the same four numbers that was never taken: this one is newer.
    if ORIGINAL_DST_BY_TUPLE.insert(tuple, info, BPF_EXIST).is_err() {
        count(Outcome::PeerInfoFull);
    }
}

#[inline(always)]
fn withdraw(tuple: &Tuple) {
    if ORIGINAL_DST_BY_TUPLE.remove(tuple).is_ok() {
        quota::give_back(&HANDSHAKES_BY_NETNS, tuple.netns);
    }
}

/// Adds to the count of a listening address, modulo 2^64; false: there is none.
#[inline(always)]
unsafe fn add(key: &ListenKey, n: u64) -> bool {
    let Some(value) = LISTENERS_BY_ADDR.get_ptr_mut(key) else { return false };
    // Workers that share a port begin to listen at the same time on several CPUs.
    // SAFETY: a live map value, aligned, changed in this way only.
    unsafe { quota::add(value, n) };
    true
}

#[inline(always)]
unsafe fn listen_key(ctx: &SockOpsContext, netns: u64) -> ListenKey {
    // SAFETY: as in the program.
    let (local, _) = unsafe { ends(ctx.ops) };
    ListenKey { netns, ip: local.ip, port: local.port, pad: 0 }
}

#[inline(always)]
fn is_host(netns: u64) -> bool {
    CONFIG.get(0).is_some_and(|config| config.host_netns == netns)
}

#[inline(always)]
unsafe fn watch_state(ctx: &SockOpsContext) {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_sock_ops_cb_flags_set(ctx.ops, BPF_SOCK_OPS_STATE_CB_FLAG as i32) };
}

/// The socket's two ends.
#[inline(always)]
unsafe fn ends(ops: *mut bpf_sock_ops) -> (Addr, Addr) {
    // SAFETY: as in the program.
    unsafe {
        let local_port = field!((*ops).local_port);
        let remote_port = u32::from_be(field!((*ops).remote_port));
        // All fields before the choice: read within it, the two arms become one load at a chosen offset, which
        // the verifier refuses as well.
        let (local4, remote4) = (field!((*ops).local_ip4), field!((*ops).remote_ip4));
        let local6 = [
            field!((*ops).local_ip6[0]),
            field!((*ops).local_ip6[1]),
            field!((*ops).local_ip6[2]),
            field!((*ops).local_ip6[3]),
        ];
        let remote6 = [
            field!((*ops).remote_ip6[0]),
            field!((*ops).remote_ip6[1]),
            field!((*ops).remote_ip6[2]),
            field!((*ops).remote_ip6[3]),
        ];
        let (local, remote) = if field!((*ops).family) == AF_INET {
            (Ip::v4(local4), Ip::v4(remote4))
        } else {
            (Ip(local6), Ip(remote6))
        };
        (Addr { ip: local, port: local_port }, Addr { ip: remote, port: remote_port })
    }
}
