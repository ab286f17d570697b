//! How does somebody come from outside of the cluster's networks?

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Mesh, NODES};
use crate::{dial, netns::Netns};

/// An address of documentation (RFC 5737) that no cluster network holds.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

impl Mesh {
    /// Opens a connection from 192.0.2.7, an address behind node `a` that is in no network of the cluster.
    pub fn connect_from_outside(&self, target: SocketAddr) -> Result<TcpStream> {
        let [home, others @ ..] = NODES;
        let node = self.node(home);
        ip(&node, &format!("address replace {OUTSIDE}/32 dev lo"))?;
        let [gateway, _] = self.node_addresses(home)?;
        for other in others {
            ip(&self.node(other), &format!("route replace {OUTSIDE}/32 via {gateway}"))?;
        }
        let from = SocketAddr::from((OUTSIDE, 0));
        Ok(dial::prepared(&node, target, |socket| socket.bind(&from.into()))?)
    }
}

fn ip(netns: &Netns, arguments: &str) -> Result<()> {
    let output = netns.run(|| Command::new("ip").args(arguments.split(' ')).output())?;
    let output = output.context("ip: is the Debian package iproute2 installed?")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
