//! What can a pod do that is root in its network namespace, and what a stranger that only sends? Each attack is one
//! scenario; docs/threat-model.md names them.

mod flood;
mod full;
mod network;
mod ports;
mod shares;
mod sockets;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    mesh::{Description, Mesh, Pod, Watch, mesh},
    suite::Area,
};

pub(crate) fn areas() -> Vec<Area> {
    vec![sockets::area(), ports::area(), network::area(), flood::area(), shares::area(), full::area()]
}

/// The attacker `mallory`, meshed and on the node of `bystander` and `near`; `far` is on the other node. The two want
/// an identity of whoever comes. `stranger` has none.
fn town() -> Description {
    mesh("hostile")
        // With the attacker, who can draw their packets to itself.
        .bridged()
        .proxy_arg("--detect-timeout=3s")
        .pod("mallory", |pod| pod.node("a").meshed())
        .pod("bystander", |pod| pod.node("a").meshed())
        .pod("stranger", |pod| pod.node("a").unmeshed())
        .pod("near", |pod| pod.node("a").meshed().policy("all-authenticated"))
        .pod("far", |pod| pod.node("b").meshed().policy("all-authenticated"))
}

/// The guarded pods with their nodes.
const GUARDED: [(&str, &str); 2] = [("near", "a"), ("far", "b")];

/// Whoever came to the guarded pod since, came with this identity and no other.
fn came_only_as(watch: &Watch, guarded: &str, identity: &str) -> Result<()> {
    watch.eventually(|now| {
        let labels = [("direction", "inbound"), ("peer", "src"), ("pod", guarded)];
        for seen in now.label_values("tcp_open_total", &labels, "client_id") {
            ensure!(seen == identity, "somebody came to {guarded} as {seen:?}");
        }
        now.expect_some("tcp_open_total", &[&labels[..], &[("client_id", identity)]].concat())
    })
}

/// Runs a Python program inside the pod, as one of its processes.
fn python(pod: &Pod, program: &str, arguments: &[&str]) -> Result<String> {
    let said = pod.run("/usr/bin/python3", &[&["-c", program], arguments].concat())?;
    Ok(said.trim().to_owned())
}

/// A Python program that runs inside the pod until this is dropped: it reads its input to the end.
struct Program(Child);

impl Program {
    /// Returns when the program has printed `ready` as its first line.
    fn start(pod: &Pod, program: &str, arguments: &[&str], ready: &str) -> Result<Self> {
        let mut command = pod.command("/usr/bin/python3")?;
        command.args(["-c", program]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().context("stdout")?;
        let program = Self(child);
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said.trim() == ready, "the program in {} said {said:?}", pod.name());
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Its sockets and programs are gone when this returns; how it ended is no matter.
        let _ = self.0.wait();
    }
}

/// Changes packet rules of the pod's own namespace.
fn nft(pod: &Pod, rules: &str) -> Result<()> {
    weft_vm::nft::apply(pod.netns().path(), rules).with_context(|| format!("nft in {}", pod.name()))
}

/// Changes links, addresses, routes and neighbours of the pod's own namespace: lines of `ip -batch`.
fn ip(pod: &Pod, lines: &str) -> Result<()> {
    let run = pod.netns().run(|| weft_vm::link::batch(lines))?;
    run.with_context(|| format!("ip in {}", pod.name()))
}

/// Everybody else's connections work: of a meshed pod of the attacker's node, near and far.
fn others_are_served(mesh: &Mesh) -> Result<()> {
    use std::io::{Read, Write};
    for (guarded, _) in GUARDED {
        let pod = mesh.pod(guarded);
        let server = pod.serve(mesh.unused_port(), weft_tests::backends::echo())?;
        let mut stream = mesh.pod("bystander").connect(pod.at(server.port()))?;
        stream.write_all(b"still there?")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).with_context(|| format!("bystander to {guarded}"))?;
    }
    Ok(())
}
