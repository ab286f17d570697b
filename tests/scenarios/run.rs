//! `weft-vm`, the program behind `cargo xtask run`, with the default manifests.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use weft_tests::{mesh::artefacts::target_directory, suite::Area, wait};

pub(crate) fn area() -> Area {
    Area::without_cluster("run")
        .bare(
            "once",
            "`run --once` with the default manifests proves mTLS between nodes and the same-node path, prints the \
             table, exits with 0 and leaves nothing behind.",
            once,
        )
        .within(Duration::from_secs(120))
        .bare(
            "exec",
            "`exec` runs a program inside a pod: its namespaces, stdin, stdout and exit code.",
            exec,
        )
        .bare(
            "interrupted",
            "Ctrl-C, SIGTERM and kill -9 of a running cluster leave no process, mount, cgroup or file.",
            interrupted,
        )
        .within(Duration::from_secs(120))
        .bare(
            "all_processes_killed",
            "After kill -9 of every process of a cluster, the next start cleans up and runs.",
            all_processes_killed,
        )
}

/// The cluster of `run`.
const CLUSTER: &str = "run";

fn weft_vm(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(target_directory()?.join("debug/weft-vm"));
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

fn once() -> Result<()> {
    let output = weft_vm(&["run", "--once"])?.output()?;
    let said = text(&output);
    ensure!(output.status.success(), "{}: {said}", output.status);
    for word in ["client", "web-a", "web-b"] {
        ensure!(said.contains(word), "the table does not contain {word}:\n{said}");
    }
    nothing_left()
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// A running `weft-vm run` with one pod. It is killed on drop.
struct Cluster {
    process: Child,
    _manifests: TempDir,
}

impl Cluster {
    fn start() -> Result<Self> {
        let manifests = tempfile::tempdir()?;
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: one, annotations: {linkerd.io/inject: enabled}}\n\
                   spec: {nodeName: a, containers: [{name: main, image: none, command: [sleep, infinity]}]}\n";
        fs::write(manifests.path().join("pod.yaml"), pod)?;
        let folder = manifests.path().to_str().context("a path in UTF-8")?;
        let mut command = weft_vm(&["run", "--manifests", folder])?;
        let log = fs::File::create(manifests.path().join("output"))?;
        let process = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut cluster = Self { process, _manifests: manifests };
        wait::until_ok_for(Duration::from_secs(40), "the pod of the running cluster", || {
            ensure!(cluster.process.try_wait()?.is_none(), "it ended: {}", cluster.said());
            let output = weft_vm(&["exec", "default/one", "--", "true"])?.output()?;
            ensure!(output.status.success(), "{}", text(&output));
            Ok(())
        })?;
        Ok(cluster)
    }

    fn said(&self) -> String {
        fs::read_to_string(self._manifests.path().join("output")).unwrap_or_default()
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.process.id().cast_signed()), signal)?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It has already ended if the scenario succeeded. Otherwise its guard or the next start cleans up.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exec() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let script = "cat; hostname; ip -brief -4 address show eth0; exit 7";
    let mut command = weft_vm(&["exec", "default/one", "--", "sh", "-c", script])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(b"from outside\n")?;
    let output = child.wait_with_output()?;
    let said = text(&output);
    ensure!(output.status.code() == Some(7), "{}: {said}", output.status);
    let mut lines = said.lines();
    ensure!(lines.next() == Some("from outside") && lines.next() == Some("one"), "{said}");
    ensure!(lines.next().is_some_and(|line| line.contains("10.244.")), "{said}");

    let output = weft_vm(&["exec", "default/one", "--netns"])?.output()?;
    let path = String::from_utf8(output.stdout)?;
    let inside = fs::File::open(path.trim()).with_context(|| format!("the namespace at {path:?}"))?;
    drop(inside);
    ensure!(
        !weft_vm(&["exec", "default/two", "--", "true"])?.output()?.status.success(),
        "there is no pod two"
    );

    cluster.signal(Signal::SIGINT)?;
    wait::until("the end", || cluster.process.try_wait().is_ok_and(|status| status.is_some()))?;
    nothing_left()
}

fn interrupted() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut cluster = Cluster::start()?;
        cluster.signal(signal)?;
        wait::until("the end", || cluster.process.try_wait().is_ok_and(|status| status.is_some()))?;
        nothing_left().with_context(|| format!("after {signal}"))?;
    }
    Ok(())
}

fn all_processes_killed() -> Result<()> {
    let mut cluster = Cluster::start()?;
    // The guard first, because it would clean up.
    let guards = children(cluster.process.id());
    ensure!(!guards.is_empty(), "no guard");
    for process in guards.into_iter().chain([cluster.process.id()]).chain(members()?) {
        // Some have ended with their parents.
        let _ = kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL);
    }
    cluster.process.wait()?;
    ensure!(!traces()?.is_empty(), "there is nothing to clean up");
    let mut second = Cluster::start()?;
    second.signal(Signal::SIGINT)?;
    wait::until("the end", || second.process.try_wait().is_ok_and(|status| status.is_some()))?;
    nothing_left()
}

/// The processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn nothing_left() -> Result<()> {
    wait::until_ok("nothing is left", || {
        let traces = traces()?;
        ensure!(traces.is_empty(), "left: {traces:?}");
        Ok(())
    })
}

/// Everything that is left of the cluster.
fn traces() -> Result<Vec<String>> {
    let home = PathBuf::from("/run/weft").join(CLUSTER);
    let mut traces: Vec<String> = members()?.into_iter().map(|pid| format!("process {pid}")).collect();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let below = format!("{}/", home.display());
    traces
        .extend(mounts.lines().filter(|mount| mount.contains(&below)).map(|mount| format!("mount {mount}")));
    let groups = cgroup_root().join("weft").join(CLUSTER);
    traces.extend([home, groups].iter().filter(|path| path.exists()).map(|path| path.display().to_string()));
    Ok(traces)
}

/// The processes in the cluster's cgroups.
fn members() -> Result<Vec<u32>> {
    let ours = format!("/weft/{CLUSTER}/");
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The process may have ended meanwhile.
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if groups.contains(&ours) {
            members.push(pid);
        }
    }
    Ok(members)
}

fn cgroup_root() -> &'static Path {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") }
}
