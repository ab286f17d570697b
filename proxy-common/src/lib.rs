//! The types of the eBPF maps and the decisions that programs and proxy share.
//!
//! The decisions are pure functions, so they are tested without a kernel.
#![cfg_attr(not(test), no_std)]

mod addr;
mod decide;
mod direct;
mod listener;
mod outcome;
mod redirect;
mod socket;
mod splice;
mod workload;

pub use self::{
    addr::{Addr, Ip, Tuple},
    decide::{Verdict, connect, inbound, unserved},
    direct::{
        DirectBackend, DirectEvent, DirectGrant, DirectKey, DirectSocket, ListenerPort, OpenDirect,
        PendingDirect,
    },
    listener::{ListenKey, SubnetKey, listener_key},
    outcome::Outcome,
    redirect::{ATTEMPTS, RedirectKey, RedirectTargets, SLOTS, V6_PREFIX_LENGTH},
    socket::{PeerInfo, SocketState},
    splice::{SpliceConfig, SpliceCounters, SpliceOpener, SplicePair, SplicePorts, SpliceRedirect},
    workload::{Config, PortRange, PortRanges, Workload},
};

/// The proxy's listener for what a pod opens (127.0.0.1 and ::1 in the pod's network namespace).
pub const OUTBOUND_PORT: u16 = 15001;
/// The proxy's listener for what a pod is sent (127.0.0.1 and ::1 in the pod's network namespace).
pub const INBOUND_PORT: u16 = 15006;

#[cfg(feature = "user")]
mod user {
    use super::*;

    macro_rules! pod {
        ($($t:ty),*) => { $(
            // SAFETY: repr(C), integers only, no implicit padding (the size assertions beside each type).
            unsafe impl aya::Pod for $t {}
        )* };
    }
    pod!(Addr, Ip, Tuple, SocketState, PeerInfo, Workload, Config, ListenKey, SubnetKey);
    pod!(DirectEvent, PendingDirect, OpenDirect, DirectGrant, DirectBackend, DirectKey, ListenerPort);
    pod!(PortRanges, SpliceConfig, SpliceOpener, SplicePair, SpliceRedirect, SpliceCounters, SplicePorts);
}
