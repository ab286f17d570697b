//! Types that the programs and the proxy share for direct connections.
//!
//! A grant lets the connections of one workload to one address go straight to a backend on the same node. The proxy
//! makes and withdraws grants; events report each connection to it.

use crate::{Addr, Tuple};

/// Whose connections, to where.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct DirectKey {
    /// The source's netns cookie.
    pub netns: u64,
    /// What the application dials.
    pub to: Addr,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<DirectKey>() == 32);

/// An application that a grant leads to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DirectBackend {
    /// The netns cookie of its workload.
    pub netns: u64,
    /// Where it listens.
    pub addr: Addr,
    /// Not 0: its port is opaque only as long as `SERVER_FIRST_PORTS` has it.
    pub learned: u32,
}

const _: () = assert!(size_of::<DirectBackend>() == 32);

/// A grant: one of its backends is chosen at random for each connection.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DirectGrant {
    /// Never used twice by one proxy; never 0.
    pub id: u64,
    /// How many of `backends` count.
    pub len: u32,
    /// Zero.
    pub pad: u32,
    /// The backends.
    pub backends: [DirectBackend; Self::BACKENDS],
}

const _: () = assert!(size_of::<DirectGrant>() == 16 + 32 * DirectGrant::BACKENDS);

impl DirectGrant {
    /// The most backends of a grant; a power of two, for the verifier.
    pub const BACKENDS: usize = 8;
}

/// A port of a workload.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ListenerPort {
    /// The workload's netns cookie.
    pub netns: u64,
    /// The port, host byte order.
    pub port: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<ListenerPort>() == 16);

/// A connection that is being opened directly, by its opener's [`Tuple`] with `netns` 0 (each end knows the
/// addresses, neither the other's namespace). Lives until it is accepted or given up.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PendingDirect {
    /// The grant; 0: withdrawn, the SYN is treated as any other.
    pub grant: u64,
    /// The source's netns cookie.
    pub source: u64,
    /// The destination's netns cookie.
    pub destination: u64,
    /// Which backend of the grant.
    pub backend: u32,
    /// Not 0: the opener has had the answer to its SYN; the two numbers below hold.
    pub answered: u32,
    /// What the opener has been acknowledged.
    pub sent: u32,
    /// What the opener expects next.
    pub expected: u32,
}

const _: () = assert!(size_of::<PendingDirect>() == 40);

/// An end of an established direct connection, by its socket's cookie. The proxy goes through them when policy changes
/// and when events were lost.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OpenDirect {
    /// The netns cookie of the socket's own workload.
    pub netns: u64,
    /// The netns cookie of the destination.
    pub destination: u64,
    /// This end and the other.
    pub local: Addr,
    /// The other end.
    pub remote: Addr,
    /// `DirectSocket::SOURCE` or `DirectSocket::DESTINATION`.
    pub side: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<OpenDirect>() == 64);

/// Kept in the storage of both sockets of a direct connection.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DirectSocket {
    /// The grant; 0: none.
    pub grant: u64,
    /// The netns cookie of the destination.
    pub destination: u64,
    /// When it was opened: nanoseconds of CLOCK_MONOTONIC.
    pub since: u64,
    /// Bytes received when its own end had been acknowledged.
    pub received: u64,
    /// Which backend of the grant.
    pub backend: u32,
    /// `DirectSocket::SOURCE`, …
    pub flags: u32,
}

const _: () = assert!(size_of::<DirectSocket>() == 40);

impl DirectSocket {
    /// The socket that connected.
    pub const SOURCE: u32 = 1;
    /// The socket that was accepted.
    pub const DESTINATION: u32 = 2;
    /// It has been established.
    pub const ESTABLISHED: u32 = 4;
    /// The other side has its FIN, which the kernel counts like a byte.
    pub const FIN_SENT: u32 = 8;
    /// It has the other side's FIN.
    pub const FIN_RECEIVED: u32 = 16;
}

/// Something happened to an end of a direct connection.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DirectEvent {
    /// The grant.
    pub pass: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The socket's ends: `local` is its own. `netns` is its workload's.
    pub ends: Tuple,
    /// `DirectEvent::OPENED`, …
    pub kind: u32,
    /// `DirectSocket::SOURCE` or `DirectSocket::DESTINATION`.
    pub side: u32,
    /// Which backend of the grant.
    pub backend: u32,
    /// The state that the socket was in before it closed (include/net/tcp_states.h).
    pub state: u32,
    /// Bytes that the other side has.
    pub sent: u64,
    /// Bytes that came.
    pub received: u64,
    /// How long it was open, nanoseconds.
    pub duration: u64,
    /// Smoothed round-trip time, microseconds.
    pub rtt: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
}

const _: () = assert!(size_of::<DirectEvent>() == 112);

impl DirectEvent {
    /// The connection is established.
    pub const OPENED: u32 = 1;
    /// The socket has closed; the figures hold.
    pub const CLOSED: u32 = 2;
    /// It was given up before it was established.
    pub const FAILED: u32 = 3;
    /// The handshake was completed by a different peer (possible spoofing): the socket was closed.
    pub const FORGED: u32 = 4;
}
