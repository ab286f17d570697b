//! An internal task of the proxy that fails ends the process, instead of leaving a node half served.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    load::Plan,
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("supervision", || two_pods("heartbeat"))
        .alone(
            "a_task_panics",
            "When an internal task panics, the proxy says which and why, tells the kernel that it ends, and exits; the \
             next one serves.",
            || two_pods("heartbeat"),
            |mesh| a_task_panics(mesh, "heartbeat"),
        )
        .alone(
            "the_watch_panics",
            "The same holds for the task that follows the control plane and supervises the pods.",
            || two_pods("workload watch"),
            |mesh| a_task_panics(mesh, "workload watch"),
        )
}

/// The file whose appearance lets the task panic; only debug builds look for it.
fn trigger(task: &str) -> PathBuf {
    std::env::temp_dir().join(format!("weft-panic-{}-{}", std::process::id(), task.replace(' ', "-")))
}

fn two_pods(task: &str) -> Description {
    mesh("supervision")
        .env("WEFT_PROXY_PANIC_TASK", task)
        .env("WEFT_PROXY_PANIC_FILE", &trigger(task).to_string_lossy())
        .pod("client", |pod| pod.node("a").meshed().policy("all-authenticated"))
        .pod("server", |pod| pod.node("b").meshed().policy("all-authenticated"))
}

fn a_task_panics(mesh: &Mesh, task: &str) -> Result<()> {
    let server = mesh.pod("server").serve(8080, backends::exchange())?;
    let (client, target) = (mesh.pod("client"), mesh.pod("server").at(8080));
    Plan::random(10_000).run(&client.connect(target)?)?;
    let pids = [mesh.proxy("a").pid()?, mesh.proxy("b").pid()?];

    fs::write(trigger(task), "")?;
    let failed = format!("the internal task {task} panicked");
    for node in ["a", "b"] {
        mesh.proxy(node).log().expect_line(&["ending the process", &failed])?;
    }
    wait::until("both proxies have ended", || pids.iter().all(|pid| !is_running(*pid)))?;
    let refused = client.connect(target).map(drop);
    ensure!(refused.is_err(), "a fail-closed pod connects although no proxy serves");

    fs::remove_file(trigger(task))?;
    mesh.proxy("a").revive()?;
    mesh.proxy("b").revive()?;
    mesh.until_enrolled()?;
    wait::until_ok("a connection through the new proxies", || {
        Ok(Plan::random(10_000).run(&client.connect(target)?)?)
    })?;
    server.no_failures()
}

/// A zombie that its parent has not collected yet does not run.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}
