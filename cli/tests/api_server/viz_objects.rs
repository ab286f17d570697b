//! What controllers, kubelets and tap would do for weft-viz on the API server of the tests.

use serde_json::{Value, json};

use crate::{lab::Lab, objects};

/// Makes the installation look as if it ran.
pub(crate) fn after_install(lab: &Lab) {
    for (at, component) in ["web", "tap", "prometheus"].into_iter().enumerate() {
        lab.patch(
            &["-n", "weft-viz", &format!("deployment/{component}"), "--subresource=status"],
            &json!({ "status": { "observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 } }),
        );
        lab.apply(&pod(component, 1, "n1", &format!("10.244.1.{}", 20 + at)));
    }
    served(lab);
    trust_tap(lab);
}

/// The proxy of n1 serves all pods of weft-viz.
pub(crate) fn served(lab: &Lab) {
    serve(lab, &["web-1", "tap-1", "prometheus-1"]);
}

/// A running, ready pod of a component, as the chart makes it.
pub(crate) fn pod(component: &str, number: u8, node: &str, ip: &str) -> Value {
    let labels = json!({
        "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
        "linkerd.io/extension": "viz",
        "component": component,
    });
    let mut pod = objects::pod("weft-viz", &format!("{component}-{number}"), node, ip, &labels);
    pod["metadata"]["annotations"] = json!({ "linkerd.io/inject": "enabled" });
    if component == "web" {
        pod["spec"]["containers"][0]["ports"] = json!([{ "name": "http", "containerPort": 8084 }]);
    }
    // The chart lets no pod run as root.
    pod["spec"]["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 1, "seccompProfile": { "type": "RuntimeDefault" },
    });
    pod["spec"]["containers"][0]["securityContext"] =
        json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    pod
}

/// The proxy of n1 serves these pods of weft-viz.
pub(crate) fn serve(lab: &Lab, pods: &[&str]) {
    let mut config = objects::config("web");
    for pod in pods {
        config["workloads"][format!("weft-viz/{pod}")] = json!({ "state": "SERVED", "reason": "" });
    }
    lab.page(0, &config, objects::METRICS);
}

pub(crate) fn trust_tap(lab: &Lab) {
    use base64::Engine;
    let roots = lab.kubectl(
        &["-n", "weft", "get", "cm", "weft-identity-trust-roots", "-o", r"jsonpath={.data.ca-bundle\.crt}"],
        "",
    );
    let bundle = base64::engine::general_purpose::STANDARD.encode(roots);
    lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": { "caBundle": bundle } }));
}
