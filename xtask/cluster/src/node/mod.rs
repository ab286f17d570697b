//! The nodes: each is a set of namespaces in which containerd, kubelet and kube-proxy run.

mod config;
mod root;
mod supervise;

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
    unistd::sethostname,
};

use self::supervise::PATH;
use crate::{
    cgroups, launch,
    layout::{Layout, NODES, State},
    wait,
};

const START: Duration = Duration::from_secs(30);

/// Runs `work` for every node at the same time; the error names the node.
pub(crate) fn each<F: Fn(usize, &str) -> Result<()> + Sync>(work: F) -> Result<()> {
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for (index, node) in NODES.iter().enumerate() {
            let (send, work) = (send.clone(), &work);
            scope.spawn(move || {
                // The receiver outlives the threads.
                let _ = send.send(work(index, node).with_context(|| format!("node {node}")));
            });
        }
    });
    drop(send);
    receive.into_iter().collect()
}

/// Writes the node's configuration and starts it; returns when its containerd answers.
pub(crate) fn start(layout: &Layout, state: &State, index: usize, node: &str) -> Result<()> {
    config::write(layout, state, index, node)?;
    root::prepare(layout, node)?;
    let log = layout.node_logs(node).join("init.log");
    let mut command = launch::command(layout, node, layout.node_netns(node), log)?;
    command.arg(std::env::current_exe()?).args(["--name", &layout.name, "node", node]);
    command.spawn().context("cannot start it")?;
    wait::until("containerd answers", START, || {
        let output = inside(layout, node, &["/kubernetes/bin/ctr", "version"])?.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    })
}

/// Whether a process of the node runs.
pub(crate) fn is_running(layout: &Layout, node: &str) -> bool {
    cgroups::is_populated(layout, node)
}

/// A command inside the node.
pub(crate) fn inside(layout: &Layout, node: &str, command: &[&str]) -> Result<Command> {
    ensure!(NODES.contains(&node), "no node {node}; there are: {}", NODES.join(", "));
    let pid =
        fs::read_to_string(layout.node_pid(node)).with_context(|| format!("the node {node} does not run"))?;
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", pid.trim(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
    nsenter.args(["--root", "--wd", "--"]).args(command).env("PATH", PATH);
    Ok(nsenter)
}

/// Replaces this process by a program inside the node.
pub(crate) fn become_inside(layout: &Layout, node: &str, command: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    Err(inside(layout, node, &words)?.exec()).context("nsenter")
}

/// Holds the node's first process, whose end is the end of the node's namespaces. Starts in the node's cgroup and network
/// namespace, with the host's root.
pub(crate) fn keep(layout: &Layout, node: &str) -> Result<ExitCode> {
    // The node's cgroup is the root of the cgroups that the node sees: a process that does not see them so would be in
    // its way.
    let own = format!("{node}-keeper");
    cgroups::create(layout, &own)?;
    unshare(CloneFlags::CLONE_NEWPID).context("unshare(CLONE_NEWPID)")?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--name", &layout.name, "node-init", node])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the first process")?;
    cgroups::enter(layout, &own)?;
    fs::write(layout.node_pid(node), child.id().to_string())?;
    bail!("the first process ended: {}", child.wait()?)
}

/// The first process of the node: makes its root directory and runs its programs.
pub(crate) fn init(layout: &Layout, node: &str) -> Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")?;
    let state = layout.state()?;
    let flags = [
        CloneFlags::CLONE_NEWNS,
        CloneFlags::CLONE_NEWUTS,
        CloneFlags::CLONE_NEWIPC,
        CloneFlags::CLONE_NEWCGROUP,
    ];
    unshare(flags.into_iter().collect()).context("unshare")?;
    sethostname(node).context("sethostname")?;
    root::enter(layout, &state, node)?;
    root::leave_the_root_cgroup()?;
    supervise::run(&[
        ("containerd", &["/kubernetes/bin/containerd", "--config", "/kubernetes/config/containerd.toml"]),
        (
            "kubelet",
            &[
                "/kubernetes/bin/kubelet",
                "--config=/kubernetes/config/kubelet.yaml",
                "--kubeconfig=/kubernetes/pki/kubelet.kubeconfig",
                &format!("--hostname-override={node}"),
                &format!(
                    "--node-ip={}",
                    state.node(NODES.iter().position(|name| *name == node).unwrap_or(0))
                ),
            ],
        ),
        ("kube-proxy", &["/kubernetes/bin/kube-proxy", "--config=/kubernetes/config/kube-proxy.yaml"]),
    ])
}
