//! `kubectl port-forward` of the demo's page, until it is dropped.

use std::{
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Stdio},
    thread,
};

use anyhow::{Context, Result};

use super::{
    quick_start::NAMESPACE,
    tools::{Tool, Tools},
};

pub(super) const SERVICE: &str = "web-svc";

pub(super) struct Forward {
    child: Child,
    address: SocketAddr,
}

impl Forward {
    /// Chooses a free port of this machine.
    pub(super) fn start(tools: &Tools) -> Result<Self> {
        let words = format!("-n {NAMESPACE} port-forward svc/{SERVICE} :80");
        let mut command = tools.command(Tool::Kubectl, &words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("kubectl port-forward")?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        // Dropped, and so ended, if what follows fails.
        let mut forward = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into() };
        let (mut output, mut line) = (BufReader::new(output), String::new());
        output.read_line(&mut line)?;
        // kubectl writes a line for each connection, and ends if nobody can read it. The thread ends with kubectl.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let port = parse(&line).with_context(|| format!("kubectl port-forward said {line:?}"))?;
        forward.address.set_port(port);
        Ok(forward)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
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
