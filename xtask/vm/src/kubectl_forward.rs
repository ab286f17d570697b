//! `kubectl port-forward`, until it is dropped.

use std::{
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result};

/// A port of this machine that leads to a pod of a Kubernetes cluster.
#[derive(Debug)]
pub struct KubectlForward {
    child: Child,
    address: SocketAddr,
}

impl KubectlForward {
    /// Forwards a free port of this machine to the target's, for example that of `svc/web-svc` and 80. `kubectl` is a
    /// command that runs kubectl with this cluster's configuration.
    pub fn start(mut kubectl: Command, namespace: &str, target: &str, port: u16) -> Result<Self> {
        kubectl.args(["--namespace", namespace, "port-forward", target, &format!(":{port}")]);
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = kubectl.spawn().context("kubectl")?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        // Dropped, and so ended, if what follows fails.
        let mut forward = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into() };
        let (mut output, mut line) = (BufReader::new(output), String::new());
        output.read_line(&mut line)?;
        // kubectl writes a line for each connection, and ends if nobody can read it. The thread ends with kubectl.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let port = parse(&line).with_context(|| format!("kubectl port-forward {target} said {line:?}"))?;
        forward.address.set_port(port);
        Ok(forward)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for KubectlForward {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The 40123 of `Forwarding from 127.0.0.1:40123 -> 8080`.
fn parse(line: &str) -> Option<u16> {
    line.strip_prefix("Forwarding from 127.0.0.1:")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read() {
        assert_eq!(parse("Forwarding from 127.0.0.1:40123 -> 8080\n"), Some(40123));
        assert_eq!(parse("error: unable to forward"), None);
    }
}
