//! Keys of the maps of listeners and skipped subnets.

use crate::Ip;

/// A listening address of an application.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ListenKey {
    /// Its netns cookie.
    pub netns: u64,
    /// The address that it is bound to.
    pub ip: Ip,
    /// The port, host byte order.
    pub port: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<ListenKey>() == 32);

/// What a skipped subnet is compared with; the prefix length counts the 64 bits of the cookie first.
/// Byte-aligned, because an LPM key has a u32 before it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SubnetKey {
    /// The workload's netns cookie, native byte order.
    pub netns: [u8; 8],
    /// The other end's address, network byte order.
    pub ip: [u8; 16],
}

const _: () = assert!(size_of::<SubnetKey>() == 24);

impl SubnetKey {
    /// Bits of a full key: cookie and address.
    pub const BITS: u32 = 64 + 128;

    /// The key of one address.
    #[inline(always)]
    pub fn new(netns: u64, ip: &Ip) -> Self {
        let mut bytes = [0; 16];
        let mut i = 0;
        while i < 4 {
            let word = ip.0[i].to_ne_bytes();
            bytes[i * 4] = word[0];
            bytes[i * 4 + 1] = word[1];
            bytes[i * 4 + 2] = word[2];
            bytes[i * 4 + 3] = word[3];
            i += 1;
        }
        SubnetKey { netns: netns.to_ne_bytes(), ip: bytes }
    }
}

/// The key of the proxy's outbound listener in a namespace. Cookies count up from 1, the top bit is free.
#[inline(always)]
pub fn listener_key(netns: u64, v6: bool) -> u64 {
    if v6 { netns | 1 << 63 } else { netns }
}
