//! `kubectl port-forward`, until it is dropped.

use std::{
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Stdio},
    thread,
};

use anyhow::{Context, Result};

use super::Cluster;

/// A port of this machine that leads to a pod.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    address: SocketAddr,
}

impl PortForward {
    /// Forwards a free port to the target's, for example `svc/web-svc` and 80.
    pub fn start(cluster: &Cluster, namespace: &str, target: &str, port: u16) -> Result<Self> {
        let mut command =
            cluster.kubectl_command(&["--namespace", namespace, "port-forward", target, &format!(":{port}")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().context("kubectl")?;
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

impl Drop for PortForward {
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
        assert_eq!(parse("error: unable to listen"), None);
    }
}
