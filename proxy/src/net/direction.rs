//! The two words for where a connection and its bytes come from.

use std::fmt;

/// Which way a connection goes, seen from the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Somebody connects to the workload.
    Inbound,
    /// The workload connects to somebody.
    Outbound,
}

/// One of the two TCP connections that make up a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The one that the proxy accepted.
    Src,
    /// The one that the proxy opened.
    Dst,
}

impl Direction {
    /// The value of the metric label `direction`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl Peer {
    /// The value of the metric label `peer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Dst => "dst",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Src => "source",
            Self::Dst => "destination",
        })
    }
}
