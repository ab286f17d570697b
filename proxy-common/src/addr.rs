//! Addresses as map keys, one form for both families.

/// An address of either family, as the kernel holds IPv6: four words, each in network byte order.
/// IPv4 is v4-mapped (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Ip(pub [u32; 4]);

const _: () = assert!(size_of::<Ip>() == 16);

impl Ip {
    const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    const ONE: u32 = u32::from_ne_bytes([0, 0, 0, 1]);

    /// `0.0.0.0`
    pub const ANY_V4: Ip = Ip::v4(0);
    /// `::`
    pub const ANY_V6: Ip = Ip([0; 4]);
    /// `127.0.0.1`
    pub const LOCALHOST_V4: Ip = Ip::v4(u32::from_ne_bytes([127, 0, 0, 1]));
    /// `::1`
    pub const LOCALHOST_V6: Ip = Ip([0, 0, 0, Self::ONE]);

    /// From an IPv4 address as the kernel holds it (network byte order).
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Ip([0, 0, Self::MAPPED, word])
    }

    /// IPv4, or IPv4 in IPv6's clothes.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Self::MAPPED
    }

    /// 127.0.0.0/8 or ::1.
    #[inline(always)]
    pub fn is_loopback(&self) -> bool {
        if self.is_v4() {
            self.0[3].to_ne_bytes()[0] == 127
        } else {
            self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == Self::ONE
        }
    }

    /// fe80::/10: means something only together with an interface.
    #[inline(always)]
    pub fn is_link_local(&self) -> bool {
        let head = self.0[0].to_ne_bytes();
        head[0] == 0xfe && head[1] & 0xc0 == 0x80
    }

    /// 0.0.0.0 or ::, which connect(2) takes for loopback.
    #[inline(always)]
    pub fn is_unspecified(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[3] == 0 && (self.0[2] == 0 || self.0[2] == Self::MAPPED)
    }
}

/// An address and a port (host byte order).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Addr {
    /// The address.
    pub ip: Ip,
    /// The port, host byte order, 0..=65535.
    pub port: u32,
}

const _: () = assert!(size_of::<Addr>() == 20);

/// A connection as its opener sees it: the key under which the original destination crosses from the
/// connecting socket to the accepted one. Both addresses and both ports, because pods may bind one port on
/// two addresses; the namespace, because pods reuse each other's loopback.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Tuple {
    /// The opener's netns cookie; 0 for connections from the node itself.
    pub netns: u64,
    /// The opener's end.
    pub local: Addr,
    /// The other end.
    pub remote: Addr,
}

const _: () = assert!(size_of::<Tuple>() == 48);

#[cfg(feature = "user")]
mod user {
    use super::{Addr, Ip};
    use core::net::{IpAddr, Ipv6Addr, SocketAddr};

    impl From<IpAddr> for Ip {
        fn from(ip: IpAddr) -> Self {
            let octets = match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
                *word = u32::from_ne_bytes(*bytes);
            }
            Ip(words)
        }
    }

    impl From<Ip> for IpAddr {
        fn from(ip: Ip) -> Self {
            let mut octets = [0; 16];
            for (bytes, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(ip.0) {
                *bytes = word.to_ne_bytes();
            }
            Ipv6Addr::from(octets).to_canonical()
        }
    }

    impl From<SocketAddr> for Addr {
        fn from(addr: SocketAddr) -> Self {
            Addr { ip: addr.ip().into(), port: addr.port().into() }
        }
    }

    impl From<Addr> for SocketAddr {
        fn from(addr: Addr) -> Self {
            SocketAddr::new(addr.ip.into(), addr.port as u16)
        }
    }
}

#[cfg(feature = "user")]
#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, SocketAddr};

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn classes() {
        assert!(ip("127.0.0.1").is_loopback() && ip("127.9.9.9").is_loopback() && ip("::1").is_loopback());
        assert!(ip("::ffff:127.0.0.1").is_loopback() && ip("::ffff:127.0.0.1").is_v4());
        assert!(!ip("10.0.0.127").is_loopback() && !ip("fd00::1").is_loopback());
        assert!(ip("0.0.0.0").is_unspecified() && ip("::").is_unspecified());
        assert!(ip("fe80::1").is_link_local() && ip("febf::1").is_link_local());
        assert!(!ip("fec0::1").is_link_local() && !ip("169.254.1.1").is_link_local());
        assert!(!ip("::1").is_unspecified() && !ip("10.0.0.0").is_unspecified());
        assert_eq!(ip("127.0.0.1"), Ip::LOCALHOST_V4);
        assert_eq!(ip("::1"), Ip::LOCALHOST_V6);
    }

    #[test]
    fn round_trip() {
        for text in ["10.1.2.3:80", "[fd00::a:b]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Addr::from(addr)), addr);
        }
    }
}
