//! What do the kernel side and the node proxy agree on?
//!
//! The types of the maps and the decisions that the programs make, as pure functions without a kernel.
#![cfg_attr(not(test), no_std)]

mod addr;
mod decide;
mod listener;
mod outcome;
mod pass;
mod redirect;
mod socket;
mod splice;
mod workload;

pub use self::{
    addr::{Addr, Ip, Tuple},
    decide::{Verdict, connect, inbound, unserved},
    listener::{ListenKey, SubnetKey, listener_key},
    outcome::Outcome,
    pass::{DirectEvent, DirectFlow, DirectLive, DirectSocket, Pass, PassBackend, PassKey, PortKey},
    redirect::{ATTEMPTS, RedirectKey, RedirectTargets, SLOTS, V6_PREFIX_LENGTH},
    socket::{Rendezvous, SocketState},
    splice::{Flow, Opener, Pair, Route, SpliceConfig, SplicePorts},
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
    pod!(Addr, Ip, Tuple, SocketState, Rendezvous, Workload, Config, ListenKey, SubnetKey);
    pod!(DirectEvent, DirectFlow, DirectLive, Pass, PassBackend, PassKey, PortKey);
    pod!(PortRanges, SpliceConfig, Opener, Pair, Route, Flow, SplicePorts);
}
