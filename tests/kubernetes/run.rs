//! `cargo xtask run --kubernetes` and `--kubeconfig FILE`, by the program that they become.

use std::{
    fs,
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{
    kubernetes::{output, programs, wait, weft_cluster, weft_images},
    suite::Area,
};

use crate::{cluster::census::Census, installed::without_weft};

/// With the start of a cluster.
const LIMIT: Duration = Duration::from_secs(600);
/// A cluster of its own, beside the other tests'.
const NAME: &str = "runs";
/// What is started beside its programs.
const BESIDE: [&str; 1] = ["--namespace emojivoto port-forward svc/web-svc"];

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::run")
        .bare(
            "on_a_cluster_of_ones_own",
            "On a cluster that exists, `run --once` installs weft and the demo, proves that the demo is meshed and that \
             its fault is seen, and removes both.",
            on_a_cluster_of_ones_own,
        )
        .within(LIMIT)
        .bare(
            "ctrl_c_leaves_nothing",
            "After Ctrl-C, `run` leaves no process, mount, cgroup, namespace, link or file of its cluster.",
            ctrl_c_leaves_nothing,
        )
        .within(LIMIT)
        .bare(
            "a_killed_run_leaves_nothing",
            "A `run` that is killed while it shows its tables leaves nothing of its cluster either.",
            a_killed_run_leaves_nothing,
        )
        .within(LIMIT)
}

fn on_a_cluster_of_ones_own() -> Result<()> {
    without_weft(|cluster| {
        cluster.load_weft()?;
        let objects = || cluster.kubectl(&["get", "namespaces,crds,clusterroles", "-o", "name"]);
        let before = objects()?;
        let mut command = weft_cluster("none")?;
        command.args(["run", "--once", "--kubeconfig"]).arg(cluster.kubeconfig());
        command.arg("--weft").arg(cluster.weft_command(&[])?.get_program());
        // A user has kubectl in PATH.
        let folder = cluster.program("kubectl");
        let folder = folder.parent().context("no folder")?;
        let said = output(command.env("PATH", format!("{}:/usr/bin:/bin", folder.display())))?;
        for line in [
            "weft install | kubectl apply -f -",
            "weft inject - | kubectl apply -f -",
            "The same pods run, none has restarted",
            "VoteDoughnut",
            "proven: all 4 pods of emojivoto are meshed",
            "proven: emojivoto/voting: ",
            "weft uninstall --force | kubectl delete",
        ] {
            ensure!(said.contains(line), "no line with {line:?}:\n{said}");
        }
        let after = objects()?;
        let left: Vec<_> =
            after.lines().filter(|object| !before.lines().any(|known| known == *object)).collect();
        ensure!(left.is_empty(), "left: {left:?}");
        ensure!(!after.contains("namespace/weft") && !after.contains("emojivoto"), "not removed: {after}");
        Ok(())
    })
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ctrl_c_leaves_nothing() -> Result<()> {
    let ended = leaves_nothing(Signal::SIGINT)?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}

fn a_killed_run_leaves_nothing() -> Result<()> {
    leaves_nothing(Signal::SIGKILL).map(drop)
}

/// Ends a `run` with a signal while it shows its tables, and counts what is left. Returns how it ended.
fn leaves_nothing(signal: Signal) -> Result<ExitStatus> {
    let mut census = Census::before(NAME, &BESIDE);
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut command = weft_cluster(NAME)?;
    command.args(["run", "--programs"]).arg(programs()?).arg("--images").args(weft_images()?);
    let weft = weft_tests::mesh::artefacts::target_directory()?.join("debug/weft");
    command.arg("--weft").arg(weft).stdin(Stdio::null()).stdout(fs::File::create(&log)?);
    let mut running = Running(command.spawn()?);
    let limit = Duration::from_secs(400);
    let shown = wait::until_ok_for(limit, "the table of workloads", || {
        let said = fs::read_to_string(&log)?;
        ensure!(said.contains(" emojivoto/voting "), "{said}");
        Ok(())
    });
    let counted = shown.and_then(|()| census.while_it_runs());
    kill(Pid::from_raw(running.0.id().cast_signed()), signal)?;
    let ended = running.0.wait()?;
    // The guard of a killed `run` needs a moment.
    wait::until_ok_for(Duration::from_secs(90), "the cluster is gone", || census.nothing_is_left())?;
    counted.map(|()| ended)
}
