//! Clusters on which weft cannot be installed.

use serde_json::json;

use super::{Failure, renew};
use crate::{lab::Lab, objects};

const ANYBODY: &[&str] = &["--pre", "-L", "other"];
const NOBODY: &[&str] = &["--pre", "--as", "nobody"];

/// A check of what the user may do, with a user who may do nothing.
const fn right(name: &'static str, description: &'static str, says: &'static [&'static str]) -> Failure {
    Failure {
        name,
        options: NOBODY,
        description,
        result: "error",
        says,
        anchor: "pre-k8s",
        healthy: Some(ANYBODY),
        break_it: nothing,
        mend_it: nothing,
    }
}

fn nothing(_: &Lab) {}

pub(crate) const FAILURES: &[Failure] = &[
    right(
        "rights_on_service_accounts",
        "can create ServiceAccounts",
        &["not authorized to create serviceaccounts"],
    ),
    right("rights_on_services", "can create Services", &["not authorized to create services"]),
    right("rights_on_deployments", "can create Deployments", &["not authorized to create deployments"]),
    right("rights_on_daemon_sets", "can create DaemonSets", &["not authorized to create daemonsets"]),
    right("rights_on_config_maps", "can create ConfigMaps", &["not authorized to create configmaps"]),
    right("rights_on_secrets", "can create Secrets", &["not authorized to create secrets"]),
    right("rights_to_read_secrets", "can read Secrets", &["not authorized to get secrets"]),
    Failure {
        anchor: "pre-k8s-cluster-k8s",
        ..right(
            "rights_on_cluster_wide_objects",
            "can create non-namespaced resources",
            &["not authorized to create namespaces"],
        )
    },
    Failure {
        name: "an_existing_namespace",
        options: &["--pre", "-L", "pre-test"],
        description: "control plane namespace does not already exist",
        result: "error",
        says: &["The \"pre-test\" namespace already exists"],
        anchor: "pre-ns",
        healthy: None,
        break_it: |lab| drop(lab.kubectl(&["create", "namespace", "pre-test"], "")),
        // Namespaces end only with a controller: another one is looked at.
        mend_it: |lab| {
            lab.kubectl(&["delete", "namespace", "pre-test", "--wait=false"], "");
            let namespace = r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"pre-test"},"spec":{"finalizers":[]}}"#;
            lab.kubectl(&["replace", "--raw", "/api/v1/namespaces/pre-test/finalize", "-f", "-"], namespace);
        },
    },
    Failure {
        name: "a_node_whose_clock_is_ahead",
        options: &["--pre", "-L", "other"],
        description: "no clock skew detected",
        result: "warning",
        says: &["node n1: ", "ahead of the API server's clock"],
        anchor: "pre-k8s-clock-skew",
        healthy: None,
        break_it: |lab| objects::renew(lab, "n1", 3600),
        mend_it: renew,
    },
    Failure {
        name: "a_ready_node_whose_clock_is_behind",
        options: &["--pre", "-L", "other"],
        description: "no clock skew detected",
        result: "warning",
        says: &["node n2: ", "behind the API server's clock"],
        anchor: "pre-k8s-clock-skew",
        healthy: None,
        break_it: |lab| objects::renew(lab, "n2", -3600),
        mend_it: renew,
    },
    Failure {
        name: "an_old_kernel_before_the_install",
        options: &["--pre", "-L", "other"],
        description: "node kernels are 6.1 or newer",
        result: "error",
        says: &["n2 has kernel 5.15.0-105-generic"],
        anchor: "weft-node-kernel",
        healthy: None,
        break_it: |lab| {
            lab.patch(
                &["node/n2", "--subresource=status"],
                &json!({ "status": { "nodeInfo": objects::info("5.15.0-105-generic") } }),
            )
        },
        mend_it: |lab| {
            lab.patch(
                &["node/n2", "--subresource=status"],
                &json!({ "status": { "nodeInfo": objects::info("6.12.0") } }),
            )
        },
    },
];
