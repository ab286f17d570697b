//! Control planes that do not work.

use serde_json::{Value, json};

use super::{DEFAULT, Failure, conditions, put, ready, take, value};
use crate::{lab::Lab, objects};

pub(crate) const FAILURES: &[Failure] = &[
    Failure {
        name: "two_namespaces_of_one_extension",
        options: DEFAULT,
        description: "namespace configuration for extensions",
        result: "warning",
        says: &["other: default, kube-public"],
        anchor: "weft-extension-namespaces",
        healthy: None,
        break_it: |lab| {
            let label = ["label", "namespace", "default", "kube-public", "linkerd.io/extension=other"];
            drop(lab.kubectl(&label, ""));
        },
        mend_it: |lab| {
            let label = ["label", "namespace", "default", "kube-public", "linkerd.io/extension-"];
            drop(lab.kubectl(&label, ""));
        },
    },
    Failure {
        name: "a_definition_without_the_version_that_is_read",
        options: DEFAULT,
        description: "control plane CustomResourceDefinitions exist",
        result: "error",
        says: &["servers.policy.linkerd.io (it exists, but without the version v1beta3 that weft reads)"],
        anchor: "weft-existence-crd",
        healthy: None,
        break_it: |lab| serve_servers(lab, false),
        mend_it: |lab| serve_servers(lab, true),
    },
    Failure {
        name: "no_namespace",
        options: &["-L", "elsewhere"],
        description: "control plane Namespace exists",
        result: "error",
        says: &["The \"elsewhere\" namespace does not exist"],
        anchor: "weft-existence-ns",
        healthy: None,
        break_it: |_| {},
        mend_it: |lab| drop(lab.kubectl(&["create", "namespace", "elsewhere"], "")),
    },
    Failure {
        name: "no_config_map",
        options: DEFAULT,
        description: "'weft-config' config map exists",
        result: "error",
        says: &["\"weft-config\" does not exist in the namespace \"weft\""],
        anchor: "weft-existence-weft-config",
        healthy: None,
        break_it: |lab| take(lab, "weft", "configmap", "weft-config"),
        mend_it: put,
    },
    Failure {
        name: "replicas_that_are_not_available",
        options: DEFAULT,
        description: "control plane replica sets are ready",
        result: "error",
        says: &["0 of 1 replicas of the Deployment \"weft-control\" are up to date and available"],
        anchor: "weft-existence-replicasets",
        healthy: None,
        break_it: |lab| deployment(lab, 0),
        mend_it: |lab| deployment(lab, 1),
    },
    Failure {
        name: "a_pod_that_cannot_be_scheduled",
        options: DEFAULT,
        description: "no unschedulable pods",
        result: "warning",
        says: &["weft-proxy-n2", "0/2 nodes are available"],
        anchor: "weft-existence-unschedulable-pods",
        healthy: None,
        break_it: |lab| {
            let scheduled = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available" });
            conditions(
                lab,
                "weft",
                "weft-proxy-n2",
                &json!([{ "type": "Ready", "status": "True" }, scheduled]),
            );
        },
        mend_it: |lab| ready(lab, "weft", "weft-proxy-n2", true),
    },
    Failure {
        name: "a_control_plane_pod_that_is_not_ready",
        options: DEFAULT,
        description: "control plane pods are ready",
        result: "error",
        says: &["No running pods for \"weft-control\"", "weft-control-1 is running, but not ready"],
        anchor: "weft-api-control-ready",
        healthy: None,
        break_it: |lab| ready(lab, "weft", "weft-control-1", false),
        mend_it: |lab| ready(lab, "weft", "weft-control-1", true),
    },
    Failure {
        name: "a_pod_cidr_outside_of_the_cluster_networks",
        options: DEFAULT,
        description: "cluster networks contains all node podCIDRs",
        result: "error",
        says: &["podCIDR 10.244.1.0/24 of node n1", "clusterNetworks"],
        anchor: "weft-cluster-networks-cidr",
        healthy: None,
        break_it: |lab| networks(lab, "10.77.0.0/16,10.96.0.0/16"),
        mend_it: |lab| networks(lab, "10.0.0.0/8"),
    },
    Failure {
        name: "pods_outside_of_the_cluster_networks",
        options: DEFAULT,
        description: "cluster networks contains all pods",
        result: "error",
        says: &["pod demo/web (10.244.1.3)"],
        anchor: "weft-cluster-networks-pods",
        healthy: None,
        break_it: |lab| networks(lab, "10.96.0.0/16"),
        mend_it: |lab| networks(lab, "10.0.0.0/8"),
    },
    Failure {
        name: "services_outside_of_the_cluster_networks",
        options: DEFAULT,
        description: "cluster networks contains all services",
        result: "error",
        says: &["service default/kubernetes (10.96.0.1)"],
        anchor: "weft-cluster-networks-pods",
        healthy: None,
        break_it: |lab| networks(lab, "10.244.0.0/16"),
        mend_it: |lab| networks(lab, "10.0.0.0/8"),
    },
    missing(
        "no_cluster_role",
        "control plane ClusterRoles exist",
        &["missing ClusterRoles:", "weft-control"],
        "weft-existence-cr",
        |lab| {
            take(lab, "weft", "clusterrole", "weft-control");
        },
    ),
    missing(
        "no_cluster_role_binding",
        "control plane ClusterRoleBindings exist",
        &["missing ClusterRoleBindings:", "weft-control"],
        "weft-existence-crb",
        |lab| {
            take(lab, "weft", "clusterrolebinding", "weft-control");
        },
    ),
    missing(
        "no_service_account",
        "control plane ServiceAccounts exist",
        &["missing ServiceAccounts:", "weft-proxy"],
        "weft-existence-sa",
        |lab| {
            take(lab, "weft", "serviceaccount", "weft-proxy");
        },
    ),
    missing(
        "no_webhook",
        "control plane ValidatingWebhookConfigurations exist",
        &["weft-policy-validator-webhook-config"],
        "weft-existence-vwc",
        |lab| {
            take(lab, "weft", "validatingwebhookconfiguration", "weft-policy-validator-webhook-config");
        },
    ),
    Failure {
        mend_it: mend_crd,
        ..missing(
            "no_crd",
            "control plane CustomResourceDefinitions exist",
            &["networkauthentications.policy.linkerd.io", "weft install --crds"],
            "weft-existence-crd",
            |lab| {
                take(lab, "weft", "crd", "networkauthentications.policy.linkerd.io");
                lab.kubectl(&["wait", "--for=delete", "crd/networkauthentications.policy.linkerd.io"], "");
            },
        )
    },
    Failure {
        name: "a_webhook_without_ca_bundle",
        options: DEFAULT,
        description: "policy-validator webhook is trusted by the API server",
        result: "error",
        says: &["weft-policy-validator.linkerd.io", "has no caBundle"],
        anchor: "weft-policy-validator-webhook-ca-bundle",
        healthy: None,
        break_it: |lab| {
            let patch = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]).to_string();
            let name = "validatingwebhookconfiguration/weft-policy-validator-webhook-config";
            lab.kubectl(&["patch", name, "--type=json", "-p", &patch], "");
        },
        mend_it: objects::trust_webhook,
    },
    Failure {
        name: "a_webhook_with_another_ca_bundle",
        options: DEFAULT,
        description: "policy-validator webhook is trusted by the API server",
        result: "error",
        says: &["is not the mesh's trust anchors"],
        anchor: "weft-policy-validator-webhook-ca-bundle",
        healthy: None,
        break_it: |lab| objects::set_ca_bundle(lab, &super::identity::root(365).pem()),
        mend_it: objects::trust_webhook,
    },
    Failure {
        name: "a_webhook_that_cannot_be_reached",
        options: DEFAULT,
        description: "policy-validator webhook has valid cert",
        result: "error",
        says: &["forward port 9443 of the pod weft/weft-control-1"],
        anchor: "weft-policy-validator-webhook-cert-valid",
        healthy: None,
        break_it: |_| {},
        mend_it: |_| {},
    },
    Failure {
        name: "a_control_plane_without_a_version",
        options: DEFAULT,
        description: "can retrieve the control plane version",
        result: "error",
        says: &["has no label app.kubernetes.io/version"],
        anchor: "weft-version-control",
        healthy: None,
        break_it: |lab| version(lab, Value::Null),
        mend_it: |lab| version(lab, json!(env!("CARGO_PKG_VERSION"))),
    },
    Failure {
        name: "a_control_plane_of_another_version",
        options: DEFAULT,
        description: "control plane and cli versions match",
        result: "warning",
        says: &["control plane running 0.0.1", "weft upgrade"],
        anchor: "weft-version-control",
        healthy: None,
        break_it: |lab| version(lab, json!("0.0.1")),
        mend_it: |lab| version(lab, json!(env!("CARGO_PKG_VERSION"))),
    },
    Failure {
        name: "a_single_replica_with_high_availability",
        options: DEFAULT,
        description: "multiple replicas of control plane pods",
        result: "warning",
        says: &["1 of weft-control is ready"],
        anchor: "weft-control-plane-replicas",
        healthy: None,
        break_it: |lab| value(lab, "highAvailability", json!(true)),
        mend_it: |lab| value(lab, "highAvailability", json!(false)),
    },
];

/// An object that was deleted.
const fn missing(
    name: &'static str,
    description: &'static str,
    says: &'static [&'static str],
    anchor: &'static str,
    break_it: fn(&Lab),
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
        mend_it: put,
    }
}

fn mend_crd(lab: &Lab) {
    put(lab);
    lab.kubectl(&["wait", "--for=condition=Established", "crd/networkauthentications.policy.linkerd.io"], "");
}

fn version(lab: &Lab, version: Value) {
    lab.patch(
        &["-n", "weft", "configmap/weft-config"],
        &json!({ "metadata": { "labels": { "app.kubernetes.io/version": version } } }),
    );
}

fn deployment(lab: &Lab, available: u32) {
    lab.patch(
        &["-n", "weft", "deployment/weft-control", "--subresource=status"],
        &json!({ "status": { "observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": available, "availableReplicas": available } }),
    );
}

fn networks(lab: &Lab, networks: &str) {
    value(lab, "clusterNetworks", json!(networks));
}

fn serve_servers(lab: &Lab, served: bool) {
    let path = "/spec/versions/3";
    let patch = json!([
        { "op": "test", "path": format!("{path}/name"), "value": "v1beta3" },
        { "op": "replace", "path": format!("{path}/served"), "value": served },
    ]);
    let crd = "crd/servers.policy.linkerd.io";
    lab.kubectl(&["patch", crd, "--type=json", "-p", &patch.to_string()], "");
}
