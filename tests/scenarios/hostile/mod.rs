//! Attacks by a pod that is root in its network namespace, and by an unmeshed pod. Each attack is one scenario;
//! docs/threat-model.md lists them.

mod flood;
mod full;
mod http;
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
    let mut areas =
        vec![sockets::area(), ports::area(), network::area(), flood::area(), shares::area(), full::area()];
    areas.extend(http::areas());
    areas
}

/// The attacker `mallory` is meshed and on the same node as `bystander` and `near`; `far` is on the other node. `near`
/// and `far` require an identity. `stranger` is unmeshed.
fn attacker_and_victims() -> Description {
    mesh("hostile")
        // The attacker can redirect the packets of pods on the same bridge to itself.
        .bridged()
        .proxy_arg("--detect-timeout=3s")
        .pod("mallory", |pod| pod.node("a").meshed())
        .pod("bystander", |pod| pod.node("a").meshed())
        .pod("stranger", |pod| pod.node("a").unmeshed())
        .pod("near", |pod| pod.node("a").meshed().policy("all-authenticated"))
        .pod("far", |pod| pod.node("b").meshed().policy("all-authenticated"))
}

/// The pods that require an identity, with their nodes.
const GUARDED: [(&str, &str); 2] = [("near", "a"), ("far", "b")];

/// Checks that the guarded pod was reached with this identity, and with no other.
fn reached_only_as(watch: &Watch, guarded: &str, identity: &str) -> Result<()> {
    watch.eventually(|now| {
        let labels = [("direction", "inbound"), ("peer", "src"), ("pod", guarded)];
        for seen in now.label_values("tcp_open_total", &labels, "client_id") {
            ensure!(seen == identity, "{guarded} was reached as {seen:?}");
        }
        now.expect_some("tcp_open_total", &[&labels[..], &[("client_id", identity)]].concat())
    })
}

/// Runs a Python program inside the pod, as one of its processes.
fn python(pod: &Pod, program: &str, arguments: &[&str]) -> Result<String> {
    let said = pod.run("/usr/bin/python3", &[&["-c", program], arguments].concat())?;
    Ok(said.trim().to_owned())
}

/// A Python program that runs inside a pod until this is dropped, which ends its input.
struct Program(Child);

impl Program {
    /// Starts the program and waits until its first line is `ready`.
    fn start(pod: &Pod, program: &str, arguments: &[&str], ready: &str) -> Result<Self> {
        let mut command = pod.command("/usr/bin/python3")?;
        command.args(["-c", program]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().context("stdout")?;
        let program = Self(child);
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said.trim() == ready, "the program in {} printed {said:?}", pod.name());
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Its sockets and programs do not exist any more when this returns; its exit status does not matter.
        let _ = self.0.wait();
    }
}

/// Changes the packet filter of the pod's namespace.
fn nft(pod: &Pod, rules: &str) -> Result<()> {
    weft_vm::nft::apply(pod.netns().path(), rules).with_context(|| format!("nft in {}", pod.name()))
}

/// Changes links, addresses, routes and neighbours of the pod's namespace, with lines of `ip -batch`.
fn ip(pod: &Pod, lines: &str) -> Result<()> {
    let run = pod.netns().run(|| weft_vm::link::batch(lines))?;
    run.with_context(|| format!("ip in {}", pod.name()))
}

/// Checks that connections of another pod on the attacker's node work, on the same and to another node.
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
