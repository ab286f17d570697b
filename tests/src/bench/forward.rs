//! The ports that a pair forwards, of which its configurations are made.

use std::{net::Ipv4Addr, path::Path};

use super::case::Kind;

/// A port of the client's loopback that is forwarded to a port of the server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward {
    pub kind: Kind,
    /// What the client dials; on the server's side, the port on which the peer accepts TLS.
    pub entry: u16,
    pub application: u16,
}

/// What both sides' configurations are made of.
pub(super) struct Plan<'a> {
    /// Has the certificates.
    pub folder: &'a Path,
    pub server: Ipv4Addr,
    pub forwards: &'a [Forward],
}
