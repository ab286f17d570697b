//! Shows what runs of a cluster, and how to use it.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{Table, presets::NOTHING};

use crate::{
    control,
    layout::{DEFAULT_NAME, Layout, NODES, State, pod_range},
    node,
    say::say,
};

/// Whether every program of the control plane and every node runs.
pub(crate) fn is_whole(layout: &Layout) -> bool {
    control::PROGRAMS.iter().all(|program| program.is_running(layout)) && nodes_run(layout)
}

pub(crate) fn nodes_run(layout: &Layout) -> bool {
    NODES.iter().all(|name| node::is_running(layout, name))
}

/// A table, and the commands to begin with. The exit code is 1 if the cluster is not whole.
pub(crate) fn show(layout: &Layout) -> Result<ExitCode> {
    let Some(state) = layout.read_state() else {
        say(format_args!("The cluster {} is not running: cargo xtask cluster up", layout.name));
        return Ok(ExitCode::FAILURE);
    };
    say(format_args!("{}\n", table(layout, &state)));
    say(format_args!("  kubeconfig  {}", layout.kubeconfig().display()));
    say(format_args!("  kubectl     {} get pods -A", command(layout, "kubectl")));
    say(format_args!("  logs        {}", layout.control_logs().display()));
    say(format_args!("  stop        {}", command(layout, "down")));
    Ok(if is_whole(layout) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command(layout: &Layout, command: &str) -> String {
    match layout.name.as_str() {
        DEFAULT_NAME => format!("cargo xtask cluster {command}"),
        name => format!("cargo xtask cluster --name {name} {command}"),
    }
}

fn table(layout: &Layout, state: &State) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["", "state", "address", "pods"]);
    let word = |running: bool| if running { "running" } else { "stopped" };
    let all = control::PROGRAMS.iter().filter(|program| !program.is_running(layout));
    let stopped: Vec<_> = all.map(|program| program.name()).collect();
    let control =
        if stopped.is_empty() { "running".to_owned() } else { format!("without {}", stopped.join(", ")) };
    table.add_row(["control plane", &control, &format!("https://{}:6443", state.api()), ""]);
    for (index, name) in NODES.iter().enumerate() {
        let running = word(node::is_running(layout, name));
        table.add_row([name, running, &state.node(index).to_string(), &pod_range(index)]);
    }
    table
}
