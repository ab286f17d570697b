//! Starts a cluster: keys, network, control plane, nodes, DNS.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    control, down, images, kubectl,
    layout::{Layout, NODES, State, pod_range},
    lock, logs, network, node, pki,
    say::say,
    status, wait,
};

const NODES_READY: Duration = Duration::from_secs(60);
const DNS_READY: Duration = Duration::from_secs(90);
const COREDNS: &str = include_str!("../manifests/coredns.yaml");
/// Without them the nodes cannot start.
const PROGRAMS: [&str; 10] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
];

/// Starts the cluster unless it runs. What a killed start has left is removed first; a start that fails or is interrupted
/// removes its own.
pub(crate) fn up(layout: &Layout, programs: &Path) -> Result<()> {
    let _lock = lock::take(layout)?;
    if let Some(state) = layout.read_state().filter(|state| state.complete && status::nodes_run(layout)) {
        return complete(layout, &state);
    }
    if layout.root.exists() {
        step("removing the rest of an earlier cluster");
        down::remove(layout)?;
    }
    let begun = Instant::now();
    let programs = programs.canonicalize().with_context(|| programs.display().to_string())?;
    for program in PROGRAMS {
        let file = programs.join("bin").join(program);
        ensure!(file.is_file(), "there is no {}", file.display());
    }
    wait::handle_signals()?;
    start(layout, &programs).inspect_err(|_| {
        if wait::check().is_ok() {
            eprintln!("{}", logs::tails(layout));
        }
        if let Err(error) = down::remove(layout) {
            eprintln!("and it cannot be removed: {error:#}");
        }
    })?;
    say(format_args!("The cluster {} is ready after {:.1} s.\n", layout.name, begun.elapsed().as_secs_f64()));
    status::show(layout).map(drop)
}

/// Starts what somebody has stopped of the control plane.
fn complete(layout: &Layout, state: &State) -> Result<()> {
    let stopped = control::PROGRAMS.into_iter().filter(|program| !program.is_running(layout));
    let (first, last): (Vec<_>, Vec<_>) = stopped.partition(|program| program.serves_others());
    for program in first {
        step(&format!("{} has stopped: starting it", program.name()));
        control::launch(layout, state, program)?;
    }
    control::wait_for_api(layout, state)?;
    for program in last {
        step(&format!("{} has stopped: starting it", program.name()));
        control::launch(layout, state, program)?;
    }
    say(format_args!("The cluster {} is running.\n", layout.name));
    status::show(layout).map(drop)
}

fn start(layout: &Layout, programs: &Path) -> Result<()> {
    let mut state = State { network: network::choose()?, programs: programs.to_owned(), complete: false };
    make_folders(layout)?;
    layout.write_state(&state)?;
    pki::create(layout, &state).context("keys and certificates")?;
    network::create(layout, &state).context("the network")?;

    step("control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler");
    let (first, last): (Vec<_>, Vec<_>) =
        control::PROGRAMS.into_iter().partition(|program| program.serves_others());
    for program in first {
        control::launch(layout, &state, program)?;
    }
    step(&format!("nodes {}: containerd, kubelet, kube-proxy", NODES.join(", ")));
    // They come up while the API server does, and try until it answers.
    node::each(|index, node| {
        node::start(layout, &state, index, node)?;
        images::load_own(layout, &state, node)
    })?;
    control::wait_for_api(layout, &state)?;
    // These end if the API server does not answer.
    for program in last {
        control::launch(layout, &state, program)?;
    }
    wait::until("the nodes' objects", NODES_READY, || kubectl::apply(layout, &state, &node_objects()))?;
    wait::until("kubelets report that their nodes are ready", NODES_READY, || nodes_ready(layout, &state))?;

    step("DNS: CoreDNS as a Deployment");
    kubectl::apply(layout, &state, COREDNS)?;
    wait::until("CoreDNS is ready", DNS_READY, || {
        let wait = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=2s"];
        kubectl::output(layout, &state, &wait).map(drop)
    })?;
    state.complete = true;
    layout.write_state(&state)
}

/// Other users may pass the cluster's folder, to reach the kubeconfig that is theirs, and nothing else.
fn make_folders(layout: &Layout) -> Result<()> {
    for folder in [layout.pki(), layout.etcd_data(), layout.control_logs(), layout.root.join("nodes")] {
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(fs::set_permissions(&layout.root, fs::Permissions::from_mode(0o711))?)
}

fn step(text: &str) {
    say(format_args!("  {text}"));
}

/// The nodes with what a cloud would add: ranges of pods, and a zone each.
fn node_objects() -> String {
    let objects = NODES.iter().enumerate().map(|(index, node)| {
        let zone = node.replace("weft-", "zone-");
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node, "labels": {
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": zone,
            }},
            "spec": {"podCIDR": pod_range(index), "podCIDRs": [pod_range(index)]},
        })
    });
    json!({"apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>()}).to_string()
}

fn nodes_ready(layout: &Layout, state: &State) -> Result<()> {
    let conditions = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    let output = kubectl::output(layout, state, &["get", "nodes", "-o", conditions])?;
    let ready = output.split_whitespace().filter(|status| *status == "True").count();
    ensure!(ready == NODES.len(), "{ready} of {} are ready", NODES.len());
    Ok(())
}
