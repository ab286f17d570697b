//! What is kept in a socket's storage.

use crate::Addr;

/// Kept in the socket's own storage (BPF_MAP_TYPE_SK_STORAGE): lives exactly as long as the socket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SocketState {
    /// The address that the flags speak of.
    pub peer: Addr,
    /// `SocketState::HIDE_PEER`, …
    pub flags: u32,
}

const _: () = assert!(size_of::<SocketState>() == 24);

impl SocketState {
    /// getpeername() answers `peer`: the address that the application dialled, or its real client's.
    pub const HIDE_PEER: u32 = 1;
    /// getsockname() answers the pod's address where the socket has loopback's.
    pub const HIDE_LOCAL: u32 = 2;
    /// An application's connection, redirected: `peer` is where it was going.
    pub const REDIRECTED: u32 = 4;
    /// The proxy's connection to an application: `peer` is the client that it stands for. Set by the proxy.
    pub const ON_BEHALF: u32 = 8;
    /// Accepted by the proxy from an application: `peer` is the original destination.
    pub const ORIGINAL: u32 = 16;
    /// An end of a connection that goes directly: the rest is in its [`crate::DirectSocket`].
    pub const DIRECT: u32 = 64;
    /// The connection may be spliced (splice.rs). Beside one of the others.
    pub const SPLICE: u32 = 32;

    /// What the other end's accepted socket is to get, if this one is weft's.
    #[inline(always)]
    pub fn handed_over(&self) -> Option<PeerInfo> {
        let splice = self.flags & Self::SPLICE;
        if self.flags & Self::REDIRECTED != 0 {
            Some(PeerInfo { addr: self.peer, flags: Self::ORIGINAL | splice })
        } else if self.flags & Self::ON_BEHALF != 0 {
            Some(PeerInfo { addr: self.peer, flags: Self::HIDE_PEER | splice })
        } else {
            None
        }
    }
}

/// On its way from a connecting socket to the accepted one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PeerInfo {
    /// Becomes the accepted socket's `peer`.
    pub addr: Addr,
    /// Becomes the accepted socket's `flags`.
    pub flags: u32,
}

const _: () = assert!(size_of::<PeerInfo>() == 24);
