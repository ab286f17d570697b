//! Nodes and their proxies that do not work.

use serde_json::{Value, json};

use super::{DEFAULT, Failure, put, ready, take};
use crate::{lab::Lab, objects};

pub(crate) const FAILURES: &[Failure] = &[
    failure(
        "a_node_with_an_old_kernel",
        "node kernels are 6.1 or newer",
        &["n1 has kernel 5.15.0"],
        "weft-node-kernel",
        |lab| node(lab, &objects::info("5.15.0")),
        |lab| node(lab, &objects::info("6.12.0")),
    ),
    failure(
        "a_node_that_does_not_say_its_kernel",
        "node kernels are 6.1 or newer",
        &["n1 does not say which kernel it has"],
        "weft-node-kernel",
        |lab| node(lab, &objects::info("")),
        |lab| node(lab, &objects::info("6.12.0")),
    ),
    failure(
        "a_node_with_another_system",
        "nodes run Linux on amd64 or arm64",
        &["n1 runs windows"],
        "weft-node-platform",
        |lab| node(lab, &json!({ "operatingSystem": "windows" })),
        |lab| node(lab, &json!({ "operatingSystem": "linux" })),
    ),
    failure(
        "no_daemon_set",
        "node proxy DaemonSet exists",
        &["the DaemonSet \"weft-proxy\" does not exist in the namespace \"weft\""],
        "weft-proxy-ds-exists",
        |lab| take(lab, "weft", "daemonset", "weft-proxy"),
        put,
    ),
    failure(
        "a_node_whose_proxy_is_not_ready",
        "node proxy is running on all nodes",
        &["n2: weft-proxy-n2 is running, but not ready"],
        "weft-proxy-on-all-nodes",
        |lab| ready(lab, "weft", "weft-proxy-n2", false),
        |lab| ready(lab, "weft", "weft-proxy-n2", true),
    ),
    failure(
        "a_node_without_a_proxy",
        "node proxy is running on all nodes",
        &["n3: no pod of the DaemonSet \"weft-proxy\""],
        "weft-proxy-on-all-nodes",
        |lab| lab.apply(&objects::node("n3", 3)),
        |lab| drop(lab.kubectl(&["delete", "node", "n3"], "")),
    ),
    failure(
        "a_proxy_that_does_not_answer",
        "node proxies can be read",
        &["n1: ", "read /metrics of the pod weft/weft-proxy-n1"],
        "weft-proxy-readable",
        |lab| lab.page(0, &Value::String(String::new()), ""),
        objects::healthy_pages,
    ),
    failure(
        "a_kernel_without_btf",
        "node kernels have BTF",
        &["n1: /sys/kernel/btf/vmlinux does not exist"],
        "weft-node-btf",
        |lab| kernel(lab, json!({ "btf": false, "cgroup_v2": true })),
        objects::healthy_pages,
    ),
    failure(
        "a_proxy_that_does_not_say_whether_there_is_btf",
        "node kernels have BTF",
        &["n1: its proxy does not say whether there is BTF"],
        "weft-node-btf",
        |lab| kernel(lab, json!({})),
        objects::healthy_pages,
    ),
    failure(
        "a_node_without_cgroup_v2",
        "nodes have cgroup v2",
        &["n1: no cgroup2 file system is mounted"],
        "weft-node-cgroup-v2",
        |lab| kernel(lab, json!({ "btf": true, "cgroup_v2": false })),
        objects::healthy_pages,
    ),
    Failure {
        result: "warning",
        ..failure(
            "a_proxy_of_another_version",
            "node proxies and cli versions match",
            &["n2: 0.0.1"],
            "weft-proxy-cli-version",
            |lab| version(lab, "0.0.1"),
            |lab| version(lab, env!("CARGO_PKG_VERSION")),
        )
    },
    Failure {
        name: "a_tool_of_another_version_than_expected",
        options: &["--expected-version", "9.9.9"],
        description: "cli is up-to-date",
        result: "warning",
        says: &["but the expected version is 9.9.9"],
        anchor: "weft-version-cli",
        healthy: Some(DEFAULT),
        break_it: |_| {},
        mend_it: |_| {},
    },
];

const fn failure(
    name: &'static str,
    description: &'static str,
    says: &'static [&'static str],
    anchor: &'static str,
    break_it: fn(&Lab),
    mend_it: fn(&Lab),
) -> Failure {
    Failure {
        name,
        options: DEFAULT,
        description,
        result: "error",
        says,
        anchor,
        healthy: None,
        break_it,
        mend_it,
    }
}

fn node(lab: &Lab, info: &Value) {
    lab.patch(&["node/n1", "--subresource=status"], &json!({ "status": { "nodeInfo": info } }));
}

fn kernel(lab: &Lab, kernel: Value) {
    let mut config = objects::config("web");
    config["kernel"] = kernel;
    lab.page(0, &config, objects::METRICS);
}

fn version(lab: &Lab, version: &str) {
    lab.patch(
        &["-n", "weft", "pod/weft-proxy-n2"],
        &json!({ "metadata": { "labels": { "app.kubernetes.io/version": version } } }),
    );
}
