//! Tests of what the manifests of the control plane and the node proxies promise.

use serde_json::{Value, json};

use super::{CONTROL_PLANE, Release};

/// The object of this kind and name with the default values; something else brings the certificates.
fn object(kind: &str, name: &str) -> Value {
    let values = json!({ "identity": { "externalCA": true, "issuer": { "scheme": "kubernetes.io/tls" } } });
    let release = Release { namespace: "weft".to_owned(), upgrade: false };
    let documents = CONTROL_PLANE.render(&values, &release).unwrap();
    let found = documents
        .into_iter()
        .map(|document| document.object)
        .find(|object| object["kind"] == json!(kind) && object["metadata"]["name"] == json!(name));
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

#[test]
fn a_node_proxy_runs_on_every_node_whatever_its_taints() {
    let proxy = object("DaemonSet", "weft-proxy");
    assert_eq!(pod(&proxy)["tolerations"], json!([{ "operator": "Exists" }]));
    assert_eq!(pod(&proxy)["nodeSelector"], json!({ "kubernetes.io/os": "linux" }));
    assert_eq!(pod(&proxy)["priorityClassName"], "system-node-critical");
    let requests = &pod(&proxy)["containers"][0]["resources"]["requests"];
    assert!(requests["cpu"].is_string() && requests["memory"].is_string(), "{requests}");
}

#[test]
fn a_new_node_proxy_meets_the_old_one_before_that_ends() {
    let proxy = object("DaemonSet", "weft-proxy");
    let update = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    assert_eq!(proxy["spec"]["updateStrategy"], update);
    // Two of them in the network of one node must not ask for the same ports.
    assert_eq!(pod(&proxy)["hostNetwork"], true);
    assert!(pod(&proxy)["containers"][0]["ports"].is_null());
    let volumes = pod(&proxy)["volumes"].as_array().unwrap();
    let state = volumes.iter().find(|volume| volume["name"] == "state").unwrap();
    assert_eq!(state["hostPath"]["path"], "/run/weft/proxy");
}

#[test]
fn a_node_proxy_has_capabilities_and_no_privileges() {
    let proxy = object("DaemonSet", "weft-proxy");
    let security = &pod(&proxy)["containers"][0]["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(pod(&proxy)["automountServiceAccountToken"], false);
}

#[test]
fn the_control_plane_runs_without_root_and_capabilities() {
    let control = object("Deployment", "weft-control");
    let container = &pod(&control)["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    let says = |name: &str| [container, &pod(&control)["securityContext"]].map(|all| all[name].clone());
    assert!(says("runAsNonRoot").contains(&json!(true)), "{control}");
}

/// With one second, which is the default, a node without time to spare would restart weft.
#[test]
fn probes_leave_a_busy_node_time() {
    for workload in [object("DaemonSet", "weft-proxy"), object("Deployment", "weft-control")] {
        for probe in ["readinessProbe", "livenessProbe"] {
            let probe = &pod(&workload)["containers"][0][probe];
            assert!(probe["timeoutSeconds"].as_u64().unwrap() >= 5, "{probe}");
        }
    }
}
