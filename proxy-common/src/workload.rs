//! What the programs know of a workload and of the node.

use crate::{Ip, RedirectKey};

/// A range of ports, both ends included, host byte order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

/// Up to [`PortRanges::MAX`] ranges: a bound that the verifier needs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortRanges {
    /// How many of `ranges` count.
    pub len: u32,
    /// The ranges.
    pub ranges: [PortRange; Self::MAX],
}

impl PortRanges {
    /// As many ranges as one annotation may hold.
    pub const MAX: usize = 16;

    /// Whether `port` is in one of the ranges.
    #[inline(always)]
    pub fn contains(&self, port: u32) -> bool {
        let mut i = 0;
        while i < Self::MAX {
            if i >= self.len as usize {
                return false;
            }
            let range = &self.ranges[i];
            if port >= range.start as u32 && port <= range.end as u32 {
                return true;
            }
            i += 1;
        }
        false
    }

    /// From a list; `None` if it is longer than [`PortRanges::MAX`].
    pub fn new(list: &[PortRange]) -> Option<Self> {
        let mut ranges = [PortRange::default(); Self::MAX];
        ranges.get_mut(..list.len())?.copy_from_slice(list);
        Some(PortRanges { len: list.len() as u32, ranges })
    }
}

/// A workload as the programs see it, keyed by netns cookie.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Workload {
    /// `Workload::CAPTURE_OUTBOUND`, …
    pub flags: u32,
    /// Port of the proxy's outbound listener on 127.0.0.1, host byte order; 0: none.
    pub outbound_v4: u16,
    /// Port of the proxy's outbound listener on ::1, host byte order; 0: none.
    pub outbound_v6: u16,
    /// The pod's IPv4 address, v4-mapped; zero: none.
    pub ip4: Ip,
    /// The pod's IPv6 address; zero: none.
    pub ip6: Ip,
    /// Ports that its connections may go to directly.
    pub skip_outbound: PortRanges,
    /// Ports on which it is reached directly.
    pub skip_inbound: PortRanges,
    /// Which part of the redirect targets is its; 0: none, all connections are redirected to one address.
    pub slot: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<Workload>() == 184);

impl Workload {
    /// Its connections are brought to the proxy. A workload with neither this nor `CAPTURE_INBOUND` is only
    /// observed: it is joining (its listeners are being learned) or leaving (what is on its way is let in).
    pub const CAPTURE_OUTBOUND: u32 = 1;
    /// Connections to it are brought to the proxy.
    pub const CAPTURE_INBOUND: u32 = 16;
    /// While no proxy serves it, connections go directly instead of being refused.
    pub const FAIL_OPEN: u32 = 2;
    /// It has entries in the map of skipped subnets.
    pub const SKIP_SUBNETS: u32 = 4;
    /// It has listeners that are older than its joining, in the map of seeded listeners.
    pub const PREEXISTING: u32 = 8;
    /// Its namespace has the route to IPv6 redirect targets.
    pub const V6_TARGETS: u32 = 32;
    /// It has few ephemeral ports: a direct connection must not take the place of one to another service.
    pub const FEW_PORTS: u32 = 64;

    /// Listening addresses that the kernel follows for one workload; more are not reached.
    pub const MAX_LISTENERS: u64 = 2048;
    /// Handshakes with the proxy that one workload may have under way.
    pub const MAX_HANDSHAKES: u64 = 16384;

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// Whether `ip` is one of its own addresses.
    #[inline(always)]
    pub fn owns(&self, ip: &Ip) -> bool {
        if ip.is_v4() { self.ip4 == *ip } else { self.ip6 == *ip && self.ip6 != Ip::ANY_V6 }
    }
}

/// What holds for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Config {
    /// Cookie of the node's own network namespace; connections from there (kubelet's probes) reach fail-closed
    /// pods while no proxy runs.
    pub host_netns: u64,
    /// A heartbeat older than this counts as no proxy; nanoseconds of CLOCK_MONOTONIC.
    pub stale_after_ns: u64,
    /// Drawn by the first proxy that loads this layout of maps.
    pub redirect_key: RedirectKey,
}

const _: () = assert!(size_of::<Config>() == 32);
