//! Chooses a port for a program that cannot choose one itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};

/// `preferred` on loopback if it is free, else another one. It is free now: nobody holds it until the program
/// listens.
pub(super) fn free(preferred: u16) -> Result<SocketAddr> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = bind(preferred).or_else(|_| bind(0)).map_err(Error::io("listen on", "127.0.0.1"))?;
    listener.local_addr().map_err(Error::io("listen on", "127.0.0.1"))
}
