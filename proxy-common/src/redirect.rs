//! The address that a redirected connection really goes to, chosen for each destination.
//!
//! With one address for all, two connections of one source address and port could not exist at the same time: TCP
//! tells connections apart by both ends. No socket is bound to these addresses; sk_lookup steers what goes there to
//! the proxy's listener (docs/decisions/0019).
//!
//! | family | target | who has it |
//! |---|---|---|
//! | IPv4 | `127.0.0.0/8`: 12 bits slot, 12 bits hash; port 32768 to 65535: 15 bits hash | loopback, in every namespace |
//! | IPv6 | `fd6f:e8eb:6df7::/48`: 16 bits slot, 64 bits hash; the listener's port | a local route that the proxy adds |

use crate::{Addr, Ip};

/// A secret of the node: who does not know it cannot foresee another pod's targets.
pub type RedirectKey = [u64; 2];

/// Slots are 1 to `SLOTS - 1`. Slot 0 has the addresses that people use: 127.0.0.1.
pub const SLOTS: u32 = 4096;

const V4_NET: u8 = 127;
const V6_HEAD: u32 = u32::from_ne_bytes([0xfd, 0x6f, 0xe8, 0xeb]);
const V6_MIDDLE: [u8; 2] = [0x6d, 0xf7];
/// The length of the prefix of all IPv6 targets.
pub const V6_PREFIX_LENGTH: u8 = 48;
const LOW_PORT: u32 = 32768;

/// How many targets a destination has in turn, for sources that already use the first.
pub const ATTEMPTS: u32 = 8;

/// The targets of one destination of one pod.
#[derive(Clone, Copy)]
pub struct RedirectTargets {
    hash: u64,
    slot: u32,
}

impl RedirectTargets {
    /// Those of the pod with this slot for `to`:`port` (host byte order).
    #[inline(always)]
    pub fn new(key: &RedirectKey, slot: u32, to: &Ip, port: u32) -> Self {
        RedirectTargets { hash: siphash13(key, to, (slot as u64) << 32 | port as u64), slot }
    }

    /// An IPv4 target. All attempts differ.
    #[inline(always)]
    pub fn v4(&self, attempt: u32) -> Addr {
        // An odd step comes by 2^27 places.
        let step = (self.hash >> 32) as u32 | 1;
        let place = (self.hash as u32).wrapping_add(attempt.wrapping_mul(step));
        let low = self.slot << 12 | (place & 0xfff);
        let ip = Ip::v4(u32::from_ne_bytes([V4_NET, (low >> 16) as u8, (low >> 8) as u8, low as u8]));
        Addr { ip, port: LOW_PORT | (place >> 12 & 0x7fff) }
    }

    /// The IPv6 target.
    #[inline(always)]
    pub fn v6(&self) -> Ip {
        let [a, b] = V6_MIDDLE;
        let middle = u32::from_ne_bytes([a, b, (self.slot >> 8) as u8, self.slot as u8]);
        Ip([V6_HEAD, middle, (self.hash >> 32) as u32, self.hash as u32])
    }
}

impl Ip {
    /// Whether this is in the prefix of IPv6 targets.
    #[inline(always)]
    pub fn is_v6_target(&self) -> bool {
        let [a, b, ..] = self.0[1].to_ne_bytes();
        self.0[0] == V6_HEAD && a == V6_MIDDLE[0] && b == V6_MIDDLE[1]
    }

    /// The slot of the pod whose target this could be; 0 is not used.
    #[inline(always)]
    pub fn slot(&self) -> u32 {
        if self.is_v4() {
            let [net, a, b, _] = self.0[3].to_ne_bytes();
            if net == V4_NET { (a as u32) << 4 | b as u32 >> 4 } else { 0 }
        } else if self.is_v6_target() {
            let [.., a, b] = self.0[1].to_ne_bytes();
            let slot = (a as u32) << 8 | b as u32;
            if slot < SLOTS { slot } else { 0 }
        } else {
            0
        }
    }
}

/// SipHash-1-3 of an address and a number.
#[inline(always)]
fn siphash13(key: &RedirectKey, ip: &Ip, number: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let words =
        [ip.0[0] as u64 | (ip.0[1] as u64) << 32, ip.0[2] as u64 | (ip.0[3] as u64) << 32, number, 24 << 56];
    let mut i = 0;
    while i < 4 {
        v[3] ^= words[i];
        round(&mut v);
        v[0] ^= words[i];
        i += 1;
    }
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(feature = "user")]
#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use std::collections::HashSet;

    const KEY: RedirectKey = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn targets_are_in_the_pods_slot_and_differ() {
        let mut seen = HashSet::new();
        for slot in [1, 7, SLOTS - 1] {
            for port in 1..2000 {
                let targets = RedirectTargets::new(&KEY, slot, &ip("10.96.0.1"), port);
                let (v4, v6) = (targets.v4(0), targets.v6());
                assert_eq!((v4.ip.slot(), v6.slot()), (slot, slot));
                assert!(v4.ip.is_loopback() && v6.is_v6_target() && !v6.is_loopback());
                assert!((32768..=65535).contains(&v4.port));
                assert!(seen.insert(v4) && seen.insert(Addr { ip: v6, port: 0 }));
            }
        }
        let targets = RedirectTargets::new(&KEY, 1, &ip("10.96.0.1"), 80);
        let attempts: HashSet<Addr> = (0..ATTEMPTS).map(|attempt| targets.v4(attempt)).collect();
        assert_eq!(attempts.len(), ATTEMPTS as usize);
    }

    #[test]
    fn other_addresses_have_no_slot() {
        for text in
            ["127.0.0.1", "127.0.15.255", "::1", "10.1.2.3", "fd6f:e8eb:6df8::1", "fd6f:e8eb:6df7:f000::1"]
        {
            assert_eq!(ip(text).slot(), 0, "{text}");
        }
        assert_eq!((ip("127.0.16.0").slot(), ip("fd6f:e8eb:6df7:abc::1").slot()), (1, 0xabc));
    }

    #[test]
    fn every_bit_changes_about_half_of_the_hash() {
        let of = |number| siphash13(&KEY, &ip("10.0.0.1"), number);
        let flips: u32 = (0..64).map(|bit| (of(0) ^ of(1 << bit)).count_ones()).sum();
        assert!((64 * 28..64 * 36).contains(&flips), "{flips}");
        assert_ne!(siphash13(&[1, 2], &ip("10.0.0.1"), 0), of(0));
    }
}
