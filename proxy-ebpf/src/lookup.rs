//! Steers connections to the proxy's listeners: those to a pod, and the pod's own that connect.rs redirected.
//!
//! netns/sk_lookup, kernel 5.9, one link per pod. Runs for packets that match no connection, before the search
//! for a listener. The chosen listener is bound to loopback and thus not reachable by itself; the accepted
//! socket keeps the address that the client dialled. If the proxy has terminated, its listener has left the map:
//! refused (RST) or, in fail-open workloads, passed to the application.

use aya_ebpf::{macros::sk_lookup, programs::SkLookupContext};
use weft_common::{Addr, Ip, Outcome, Tuple, Verdict, Workload, inbound as decide, listener_key, unserved};

use crate::{
    direct,
    maps::{
        HOST_CONNECTIONS, INBOUND_LISTENERS, NETNS_BY_IP, NETNS_BY_SLOT, ORIGINAL_DST_BY_TUPLE,
        OUTBOUND_LISTENERS, beating, count, listens, skipped_subnet, workload,
    },
};

const PASS: u32 = 1;
const DROP: u32 = 0;
const AF_INET: u32 = 2;
const IPPROTO_TCP: u32 = 6;

#[sk_lookup]
pub fn weft_lookup(ctx: SkLookupContext) -> u32 {
    let lookup = ctx.lookup;
    // SAFETY: fields of the kernel's context.
    unsafe {
        if field!((*lookup).protocol) != IPPROTO_TCP {
            return PASS;
        }
        let port = field!((*lookup).local_port);
        let remote_port = u32::from(u16::from_be(field!((*lookup).remote_port)));
        // All fields before the choice between them: see `ends` in sockops.rs.
        let (local4, remote4) = (field!((*lookup).local_ip4), field!((*lookup).remote_ip4));
        let local6 = [
            field!((*lookup).local_ip6[0]),
            field!((*lookup).local_ip6[1]),
            field!((*lookup).local_ip6[2]),
            field!((*lookup).local_ip6[3]),
        ];
        let remote6 = [
            field!((*lookup).remote_ip6[0]),
            field!((*lookup).remote_ip6[1]),
            field!((*lookup).remote_ip6[2]),
            field!((*lookup).remote_ip6[3]),
        ];
        let (local, remote) = if field!((*lookup).family) == AF_INET {
            (Ip::v4(local4), Ip::v4(remote4))
        } else {
            (Ip(local6), Ip(remote6))
        };
        let (here, there) = (Addr { ip: local, port }, Addr { ip: remote, port: remote_port });
        // By address, not by interface: a pod's packet to its own address does not always come over lo. The
        // proxy's own connections to the application come this way.
        if local.is_loopback() || local.is_v6_target() || local == remote {
            return redirected(&ctx, &here, &there);
        }
        let Some(netns) = NETNS_BY_IP.get(local) else {
            // Passed, it would be a way around the policies of the pod's known addresses.
            count(Outcome::InboundUnknown);
            return DROP;
        };
        let netns = *netns;
        let Some(workload) = workload(netns) else { return PASS };
        if !workload.is(Workload::CAPTURE_INBOUND) {
            count(Outcome::InboundNotCaptured);
            return PASS;
        }
        if NETNS_BY_IP.get(remote).is_some_and(|owner| *owner == netns) || remote.is_loopback() {
            count(Outcome::InboundOwnAddress);
            return PASS;
        }
        let opener = Tuple { netns: 0, local: there, remote: here };
        if direct::is_expected(&opener, netns) && beating() {
            count(Outcome::InboundDirect);
            return PASS;
        }
        let verdict = decide(
            workload,
            port,
            || skipped_subnet(netns, &remote),
            || listens(workload, netns, &local, port),
            beating,
        );
        match verdict {
            Verdict::Redirect(outcome) => {
                if INBOUND_LISTENERS.redirect_sk_lookup(&ctx, local, 0).is_ok() {
                    count(outcome);
                    return PASS;
                }
                finish(but_probes(
                    unserved(workload, Outcome::InboundFailOpen, Outcome::InboundFailClosed),
                    &opener,
                ))
            }
            verdict => finish(but_probes(verdict, &opener)),
        }
    }
}

/// What connect.rs has redirected goes to the proxy's listener and to nobody else. All other connections to these
/// addresses are the application's own.
#[inline(always)]
fn redirected(ctx: &SkLookupContext, here: &Addr, there: &Addr) -> u32 {
    let slot = here.ip.slot();
    // Slot 0 is nobody's.
    let netns = if slot == 0 { 0 } else { NETNS_BY_SLOT.get(slot).copied().unwrap_or(0) };
    if netns != 0 {
        let tuple = Tuple { netns, local: *there, remote: *here };
        // SAFETY: only whether there is one is asked.
        if unsafe { ORIGINAL_DST_BY_TUPLE.get(tuple).is_some() } {
            if OUTBOUND_LISTENERS.redirect_sk_lookup(ctx, listener_key(netns, !here.ip.is_v4()), 0).is_ok() {
                return PASS;
            }
            // The listener was closed a moment ago.
            count(Outcome::InboundFailClosed);
            return DROP;
        }
    }
    if here.ip.is_v6_target() && !there.ip.is_loopback() {
        // SAFETY: values are plain integers.
        let is_own = unsafe { NETNS_BY_IP.get(there.ip).is_some_and(|owner| *owner == netns) };
        // The route to the targets makes them the pod's for whoever sends a packet there.
        if !is_own {
            count(Outcome::InboundUnknown);
            return DROP;
        }
    }
    PASS
}

/// While no proxy can judge them, the node's own connections reach a fail-closed pod: the kubelet would restart it if
/// its health checks failed.
#[inline(always)]
fn but_probes(verdict: Verdict, opener: &Tuple) -> Verdict {
    match verdict {
        // SAFETY: only whether there is one is asked.
        Verdict::Refuse(Outcome::InboundFailClosed) if unsafe { HOST_CONNECTIONS.get(opener).is_some() } => {
            Verdict::Bypass(Outcome::InboundHost)
        }
        verdict => verdict,
    }
}

#[inline(always)]
fn finish(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Redirect(outcome) | Verdict::Bypass(outcome) => {
            count(outcome);
            PASS
        }
        Verdict::Refuse(outcome) => {
            count(outcome);
            DROP
        }
    }
}
