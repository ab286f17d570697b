//! For every check of weft-viz, a state of its objects in which it fails.

use serde_json::{Value, json};

use crate::{
    failures,
    lab::{Found, Lab},
    viz_objects::{after_install, pod, serve, trust_tap},
};

/// All of them.
pub(crate) const FAILURES: &[&Failure] = &[
    &NO_LABEL,
    &NO_ROLE,
    &NO_BINDING,
    &NOT_READY,
    &NO_POD,
    &NOT_SERVED,
    &NOT_ANNOTATED,
    &NO_PROXY,
    &OTHER_VERSION,
    &NO_CA_BUNDLE,
    &EXPIRED_CERTIFICATE,
    &INSECURE,
    &NO_API_SERVICE,
    &NO_CONFIG,
    &NO_JOB,
    &NO_SERVICE,
    &NO_DEPLOYMENT,
    &NOT_AVAILABLE,
];

/// A state of weft-viz, and what `weft viz check` says about it.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    result: &'static str,
    says: &'static str,
    anchor: &'static str,
    break_it: fn(&Lab),
    mend_it: fn(&Lab),
}

pub(crate) fn check(lab: &Lab) -> Vec<Found> {
    lab.found("kubeconfig", &["viz", "check"])
}

/// Breaks something, checks, mends it, and checks again.
pub(crate) fn fails(lab: &Lab, failure: &Failure) {
    (failure.break_it)(lab);
    let found = check(lab);
    (failure.mend_it)(lab);
    let of = |found: &[Found]| {
        let check = found.iter().find(|check| check.description == failure.description);
        let check = check.unwrap_or_else(|| panic!("{} did not run: {found:#?}", failure.description));
        (check.result.clone(), check.error.clone(), check.hint.clone())
    };
    let (result, error, hint) = of(&found);
    assert_eq!(result, failure.result, "{error}");
    assert!(error.contains(failure.says), "{:?} is missing in {error}", failure.says);
    assert!(hint.ends_with(&format!("docs/check.md#{}", failure.anchor)), "{hint}");
    let (result, error, _) = of(&check(lab));
    assert_eq!(result, "success", "{error}");
}

const NO_LABEL: Failure = Failure {
    name: "viz_check_finds_a_namespace_without_its_label",
    description: "weft-viz Namespace exists",
    result: "error",
    says: "has no label linkerd.io/extension=viz",
    anchor: "weft-viz-ns-exists",
    break_it: |lab| drop(lab.kubectl(&["label", "namespace", "weft-viz", "linkerd.io/extension-"], "")),
    mend_it: |lab| drop(lab.kubectl(&["label", "namespace", "weft-viz", "linkerd.io/extension=viz"], "")),
};

const NO_ROLE: Failure = Failure {
    name: "viz_check_finds_a_missing_cluster_role",
    description: "weft-viz ClusterRoles exist",
    result: "error",
    says: "weft-viz-reader",
    anchor: "weft-viz-cr-exists",
    break_it: |lab| failures::take(lab, "default", "clusterrole", "weft-viz-reader"),
    mend_it: failures::put,
};

const NO_BINDING: Failure = Failure {
    name: "viz_check_finds_a_missing_binding",
    description: "weft-viz ClusterRoleBindings exist",
    result: "error",
    says: "weft-viz-tap",
    anchor: "weft-viz-crb-exists",
    break_it: |lab| failures::take(lab, "default", "clusterrolebinding", "weft-viz-tap"),
    mend_it: failures::put,
};

const NOT_READY: Failure = Failure {
    name: "viz_check_finds_a_pod_that_does_not_run",
    description: "viz extension pods are running",
    result: "error",
    says: "tap-1 is running, but not ready",
    anchor: "weft-viz-pods-running",
    break_it: |lab| failures::ready(lab, "weft-viz", "tap-1", false),
    mend_it: |lab| failures::ready(lab, "weft-viz", "tap-1", true),
};

const NOT_SERVED: Failure = Failure {
    name: "viz_check_finds_a_pod_that_no_proxy_serves",
    description: "viz extension pods are in the mesh",
    result: "warning",
    says: "weft-viz/tap-1: the proxy of its node \"n1\" does not serve it",
    anchor: "weft-viz-pods-meshed",
    break_it: |lab| serve(lab, &["web-1", "prometheus-1"]),
    mend_it: |lab| serve(lab, &["web-1", "tap-1", "prometheus-1"]),
};

const OTHER_VERSION: Failure = Failure {
    name: "viz_check_finds_another_version",
    description: "viz extension and cli versions match",
    result: "warning",
    says: "web-1 runs 9.9.9",
    anchor: "weft-viz-cli-version",
    break_it: |lab| version(lab, "9.9.9"),
    mend_it: |lab| version(lab, env!("CARGO_PKG_VERSION")),
};

fn version(lab: &Lab, version: &str) {
    let label = format!("app.kubernetes.io/version={version}");
    lab.kubectl(&["-n", "weft-viz", "label", "--overwrite", "pod", "web-1", &label], "");
}

const NO_CA_BUNDLE: Failure = Failure {
    name: "viz_check_finds_a_certificate_that_nobody_can_trust",
    description: "tap API server has valid cert",
    result: "error",
    says: "has no caBundle",
    anchor: "weft-tap-cert-valid",
    break_it: |lab| {
        lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": { "caBundle": Value::Null } }));
    },
    mend_it: trust_tap,
};

const EXPIRED_CERTIFICATE: Failure = Failure {
    name: "viz_check_finds_a_certificate_that_has_expired",
    description: "tap API server has valid cert",
    result: "error",
    says: "expired on",
    anchor: "weft-tap-cert-valid",
    break_it: |lab| {
        use base64::Engine;
        let mut params = rcgen::CertificateParams::new(vec!["tap.weft-viz.svc".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let bundle = base64::engine::general_purpose::STANDARD.encode(pem);
        lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": { "caBundle": bundle } }));
    },
    mend_it: trust_tap,
};

const NO_JOB: Failure = Failure {
    name: "viz_check_finds_a_prometheus_without_its_job",
    description: "prometheus is installed and configured correctly",
    result: "warning",
    says: "has no job weft-proxy",
    anchor: "weft-viz-prometheus",
    break_it: |lab| {
        let text = lab.kubectl(&["-n", "weft-viz", "get", "cm", "prometheus-config", "-o", "json"], "");
        lab.write("prometheus-config.json", &text);
        lab.patch(&["-n", "weft-viz", "cm/prometheus-config"], &json!({ "data": { "prometheus.yml": "" } }));
    },
    mend_it: |lab| {
        let text = std::fs::read_to_string(lab.path("prometheus-config.json")).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        lab.patch(&["-n", "weft-viz", "cm/prometheus-config"], &json!({ "data": kept["data"] }));
    },
};

const NO_POD: Failure = Failure {
    name: "viz_check_finds_a_component_without_pods",
    description: "viz extension pods are running",
    result: "error",
    says: "no pod of the Deployment \"tap\" exists",
    anchor: "weft-viz-pods-running",
    break_it: |lab| drop(lab.kubectl(&["-n", "weft-viz", "delete", "pod", "tap-1", "--force"], "")),
    mend_it: after_install,
};

const NOT_ANNOTATED: Failure = Failure {
    name: "viz_check_finds_a_pod_that_is_not_meant_for_the_mesh",
    description: "viz extension pods are in the mesh",
    result: "warning",
    says: "weft-viz/tap-1 is not annotated for the mesh",
    anchor: "weft-viz-pods-meshed",
    break_it: |lab| annotate(lab, "disabled"),
    mend_it: |lab| annotate(lab, "enabled"),
};

fn annotate(lab: &Lab, inject: &str) {
    let annotation = format!("linkerd.io/inject={inject}");
    lab.kubectl(&["-n", "weft-viz", "annotate", "--overwrite", "pod", "tap-1", &annotation], "");
}

const NO_PROXY: Failure = Failure {
    name: "viz_check_finds_a_pod_on_a_node_without_a_proxy",
    description: "viz extension pods are in the mesh",
    result: "warning",
    says: "weft-viz/web-2: its node \"n9\" has no ready proxy",
    anchor: "weft-viz-pods-meshed",
    break_it: |lab| lab.apply(&pod("web", 2, "n9", "10.244.9.2")),
    mend_it: |lab| drop(lab.kubectl(&["-n", "weft-viz", "delete", "pod", "web-2", "--force"], "")),
};

const INSECURE: Failure = Failure {
    name: "viz_check_finds_that_anybody_is_trusted_as_tap",
    description: "tap API server has valid cert",
    result: "error",
    says: "has insecureSkipTLSVerify",
    anchor: "weft-tap-cert-valid",
    break_it: |lab| {
        let spec = json!({ "caBundle": Value::Null, "insecureSkipTLSVerify": true });
        lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": spec }));
    },
    mend_it: |lab| {
        let spec = json!({ "insecureSkipTLSVerify": false });
        lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": spec }));
        trust_tap(lab);
    },
};

const NO_API_SERVICE: Failure = Failure {
    name: "viz_check_finds_that_tap_is_not_registered",
    description: "tap API server has valid cert",
    result: "error",
    says: "the APIService \"v1alpha1.tap.linkerd.io\" does not exist",
    anchor: "weft-tap-cert-valid",
    break_it: |lab| failures::take(lab, "default", "apiservice", "v1alpha1.tap.linkerd.io"),
    mend_it: failures::put,
};

const NO_CONFIG: Failure = Failure {
    name: "viz_check_finds_a_prometheus_without_a_configuration",
    says: "the ConfigMap \"prometheus-config\" does not exist",
    break_it: |lab| failures::take(lab, "weft-viz", "configmap", "prometheus-config"),
    mend_it: failures::put,
    ..NO_JOB
};

const NO_SERVICE: Failure = Failure {
    name: "viz_check_finds_a_prometheus_without_a_service",
    says: "the Service \"prometheus\" does not exist",
    break_it: |lab| failures::take(lab, "weft-viz", "service", "prometheus"),
    mend_it: failures::put,
    ..NO_JOB
};

const NO_DEPLOYMENT: Failure = Failure {
    name: "viz_check_finds_that_there_is_no_prometheus",
    says: "the Deployment \"prometheus\" does not exist",
    break_it: |lab| failures::take(lab, "weft-viz", "deployment", "prometheus"),
    mend_it: |lab| {
        failures::put(lab);
        after_install(lab);
    },
    ..NO_JOB
};

const NOT_AVAILABLE: Failure = Failure {
    name: "viz_check_finds_a_prometheus_that_is_not_available",
    says: "no pod of the Deployment \"prometheus\" is available",
    break_it: |lab| {
        lab.patch(
            &["-n", "weft-viz", "deployment/prometheus", "--subresource=status"],
            &json!({ "status": { "readyReplicas": 0, "availableReplicas": 0 } }),
        );
    },
    mend_it: after_install,
    ..NO_JOB
};
