//! A handle on a pod: serve, connect and run programs inside it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Mesh, NAMESPACE, both};
use crate::{
    backends::{Behaviour, Server},
    dial,
    netns::Netns,
};

#[derive(Clone)]
pub struct Pod<'a> {
    mesh: &'a Mesh,
    name: String,
    account: String,
    netns: Netns,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl<'a> Pod<'a> {
    pub(super) fn of(mesh: &'a Mesh, name: &str) -> Result<Self> {
        let key = format!("{NAMESPACE}/{name}");
        let cluster = mesh.cluster()?;
        let (v4, v6) = both(&cluster.pod_ips(&key)?)?;
        let account = mesh.specs().get(name).map_or_else(|| name.to_owned(), |spec| spec.account.clone());
        Ok(Self { mesh, name: name.to_owned(), account, netns: Netns::at(cluster.pod_netns(&key)?), v4, v6 })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The identity in its certificates.
    pub fn identity(&self) -> String {
        format!("{}.{NAMESPACE}.serviceaccount.identity.linkerd.cluster.local", self.account)
    }

    /// A port of its IPv4 address.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// A port of its IPv6 address.
    pub fn at6(&self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }

    /// Serves a port of both address families.
    pub fn serve(&self, port: u16, behaviour: Behaviour) -> Result<Server> {
        self.serve_on((Ipv6Addr::UNSPECIFIED, port).into(), behaviour)
    }

    /// Serves one address.
    pub fn serve_on(&self, address: SocketAddr, behaviour: Behaviour) -> Result<Server> {
        Server::start(&self.netns, address, behaviour).with_context(|| format!("serving in {}", self.name))
    }

    /// Connects from inside the pod.
    pub fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        dial::from(&self.netns, target)
    }

    /// Opens several connections from inside the pod.
    pub fn connect_many(&self, target: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
        self.netns.run(|| (0..count).map(|_| dial::here(target)).collect())?
    }

    /// Fails unless something listens on the port. It makes no connection, so servers that count them are not
    /// disturbed.
    pub fn listens_on(&self, port: u16) -> Result<()> {
        let tables = self.netns.run(|| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
            Ok::<_, io::Error>(read("tcp")? + &read("tcp6")?)
        })??;
        let ours = format!(":{port:04X}");
        let listens = tables.lines().map(str::split_whitespace).any(|mut fields| {
            fields.nth(1).is_some_and(|local| local.ends_with(&ours)) && fields.nth(1) == Some(LISTEN)
        });
        ensure!(listens, "nothing listens on {port} in {}", self.name);
        Ok(())
    }

    /// A command that runs as a process of the pod.
    pub fn command(&self, program: &str) -> Result<Command> {
        let key = format!("{NAMESPACE}/{}", self.name);
        let mut command = self.mesh.cluster()?.command(&key, program)?;
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a program inside the pod and returns its output; an error contains stdout and stderr.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program)?.args(arguments).output();
        let output = output.with_context(|| format!("{program}: is its Debian package installed?"))?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{program} in {}: {}\n{out}{err}", self.name, output.status);
        Ok(out.into_owned())
    }
}

/// TCP_LISTEN as /proc/net/tcp writes it.
const LISTEN: &str = "0A";
