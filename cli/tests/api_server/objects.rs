//! The objects of the cluster that kubelets and controllers would make.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lab::Lab;

pub(crate) fn before_install(lab: &Lab) {
    for (number, name) in [(1, "n1"), (2, "n2")] {
        lab.apply(&node(name, number));
        renew(lab, name, 0);
    }
}

pub(crate) fn node(name: &str, number: u8) -> Value {
    let cidr = format!("10.244.{number}.0/24");
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "spec": { "podCIDR": cidr, "podCIDRs": [cidr] },
        "status": {
            "nodeInfo": info("6.12.0"),
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

pub(crate) fn info(kernel: &str) -> Value {
    json!({
        "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": kernel, "osImage": "Debian",
        "containerRuntimeVersion": "containerd://2.4.2", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
        "operatingSystem": "linux", "architecture": "amd64",
    })
}

/// Renews the node's lease, as its kubelet would, with a clock that is ahead by some seconds.
pub(crate) fn renew(lab: &Lab, node: &str, ahead: i64) {
    lab.apply(&json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": node, "namespace": "kube-node-lease" },
        "spec": { "holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": timestamp(ahead) },
    }));
}

fn timestamp(ahead: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now).unwrap() + ahead).unwrap();
    let text = time.format(&time::format_description::well_known::Rfc3339).unwrap();
    text.replace('Z', ".000000Z")
}

/// Makes the installation look as if it ran: the Deployment, a pod of it, and a proxy on each node.
pub(crate) fn after_install(lab: &Lab) {
    lab.patch(
        &["-n", "weft", "deployment/weft-control", "--subresource=status"],
        &json!({ "status": { "observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 } }),
    );
    lab.apply(&pod("weft", "weft-control-1", "n1", "10.244.1.2", &labels("control")));
    for (number, node) in [(1, "n1"), (2, "n2")] {
        let mut proxy =
            pod("weft", &format!("weft-proxy-{node}"), node, &format!("10.77.0.{number}"), &labels("proxy"));
        proxy["spec"]["hostNetwork"] = json!(true);
        lab.apply(&proxy);
    }
    trust_webhook(lab);
    let names = ["configmap/weft-identity-trust-roots", "secret/weft-identity-issuer"];
    let identity = lab.kubectl(&["-n", "weft", "get", names[0], names[1], "-o", "json"], "");
    let mut identity: Value = serde_json::from_str(&identity).unwrap();
    for object in identity["items"].as_array_mut().unwrap() {
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    }
    lab.write(IDENTITY, &identity.to_string());
    healthy_pages(lab);
}

/// The file with the installation's certificates.
pub(crate) const IDENTITY: &str = "identity.json";

fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": format!("weft-{component}"),
        "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
        "linkerd.io/control-plane-component": component,
        "linkerd.io/control-plane-ns": "weft",
    })
}

/// What weft-control does with the webhook's configuration.
pub(crate) fn trust_webhook(lab: &Lab) {
    let roots = lab.kubectl(
        &["-n", "weft", "get", "cm", "weft-identity-trust-roots", "-o", r"jsonpath={.data.ca-bundle\.crt}"],
        "",
    );
    set_ca_bundle(lab, &roots);
}

pub(crate) fn set_ca_bundle(lab: &Lab, pem: &str) {
    use base64::Engine;
    let bundle = base64::engine::general_purpose::STANDARD.encode(pem);
    let patch = json!([{ "op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle }]);
    let name = "validatingwebhookconfiguration/weft-policy-validator-webhook-config";
    lab.kubectl(&["patch", name, "--type=json", "-p", &patch.to_string()], "");
}

/// A running, ready pod.
pub(crate) fn pod(namespace: &str, name: &str, node: &str, ip: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "containers": [{ "name": "main", "image": "none", "ports": [{ "containerPort": 8080 }] }],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// A meshed namespace with a pod on n1.
pub(crate) fn demo(lab: &Lab) {
    lab.apply(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": "demo", "annotations": { "linkerd.io/inject": "enabled" } },
    }));
    lab.apply(&pod("demo", "web", "n1", "10.244.1.3", &json!({ "app": "web" })));
    lab.apply(&pod("demo", "api", "n2", "10.244.2.3", &json!({ "app": "api" })));
}

/// What the proxies of a healthy cluster show.
pub(crate) fn healthy_pages(lab: &Lab) {
    lab.page(0, &config("web"), METRICS);
    lab.page(1, &config("api"), METRICS);
    lab.certificates(0, &certificates(lab, "web"));
    lab.certificates(1, &certificates(lab, "api"));
}

/// The page /certificates.json of a proxy that has the anchors of the installation, and a certificate of its issuer.
pub(crate) fn certificates(lab: &Lab, pod: &str) -> Value {
    use base64::Engine;
    let identity: Value =
        serde_json::from_str(&std::fs::read_to_string(lab.path(IDENTITY)).unwrap()).unwrap();
    let issuer = identity["items"][1]["data"]["crt.pem"].as_str().unwrap();
    let issuer = base64::engine::general_purpose::STANDARD.decode(issuer).unwrap();
    let issuer = String::from_utf8(issuer).unwrap();
    json!({
        // Of the pod's own certificate it does not matter whose it is.
        "workloads": { format!("demo/{pod}"): { "identity": "default.demo", "certificates": [issuer, issuer] } },
        "trust_anchors": [identity["items"][0]["data"]["ca-bundle.crt"]],
    })
}

pub(crate) const METRICS: &str = "# TYPE weft_connections_open gauge\nweft_connections_open 0\n# EOF\n";

pub(crate) fn config(pod: &str) -> Value {
    json!({
        "config": {},
        "workloads": { format!("demo/{pod}"): { "state": "SERVED", "reason": "" } },
        "certificates": {
            "default.demo.serviceaccount.identity.weft.cluster.local": { "expires": 32_503_680_000_i64 },
        },
        "kernel": { "btf": true, "cgroup_v2": true },
        "splice": { "available": true, "reason": null },
    })
}
