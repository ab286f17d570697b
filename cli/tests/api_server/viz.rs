//! weft-viz on a real API server: what `weft viz install` prints is accepted, and `weft viz check` finds what is broken.
//!
//! No kubelet runs, so nothing can ask weft-viz itself here: tests/viz does that.

use std::{process::Output, sync::Arc, thread, time::Duration};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    checks, failures,
    helm::objects,
    lab::{Found, Lab},
    lazy::Lazy,
    objects as lab_objects,
};

type Test = (&'static str, fn(&Lab));

/// In this order: they change one installation.
const TESTS: &[Test] = &[
    ("viz_commands_say_how_to_install_it", not_installed),
    ("viz_install_refuses_without_the_control_plane", without_control_plane),
    ("viz_install_gives_manifests_that_the_api_server_accepts", install),
    ("viz_install_refuses_where_it_is_installed", installed),
    ("viz_upgrade_changes_only_what_it_is_told", upgrade),
    ("viz_check_passes_what_can_be_seen_without_a_kubelet", healthy),
    ("viz_check_finds_a_namespace_without_its_label", |lab| fails(lab, &NO_LABEL)),
    ("viz_check_finds_a_missing_cluster_role", |lab| fails(lab, &NO_ROLE)),
    ("viz_check_finds_a_missing_binding", |lab| fails(lab, &NO_BINDING)),
    ("viz_check_finds_a_pod_that_does_not_run", |lab| fails(lab, &NOT_READY)),
    ("viz_check_finds_a_pod_outside_of_the_mesh", |lab| fails(lab, &NOT_SERVED)),
    ("viz_check_finds_another_version", |lab| fails(lab, &OTHER_VERSION)),
    ("viz_check_finds_a_certificate_that_nobody_can_trust", |lab| fails(lab, &NO_CA_BUNDLE)),
    ("viz_check_finds_a_certificate_that_has_expired", |lab| fails(lab, &EXPIRED_CERTIFICATE)),
    ("viz_check_finds_a_prometheus_without_its_job", |lab| fails(lab, &NO_JOB)),
    ("viz_check_finds_a_tap_that_the_api_server_cannot_reach", no_tap),
    ("viz_check_without_rights_passes_nothing", no_rights),
    ("the_check_of_the_mesh_includes_viz", included),
    ("viz_uninstall_prints_all_that_was_installed", uninstall),
];

pub(crate) fn trials(lab: &Arc<Lazy>) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let (lab, test) = (lab.clone(), *test);
        Trial::test(*name, move || {
            let lab = lab.get();
            checks::installed(lab);
            test(lab);
            Ok(())
        })
    };
    TESTS.iter().map(trial).collect()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "a refused command prints nothing");
    stderr(output)
}

/// The API server needs a moment before it serves kinds that were just defined.
fn wait_for_kinds(lab: &Lab) {
    let kinds = "authorizationpolicies,meshtlsauthentications,networkauthentications,servers";
    for _ in 0..100 {
        if lab.try_kubectl(&["get", kinds, "-A"], "").status.success() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("the API server does not serve {kinds}");
}

fn not_installed(lab: &Lab) {
    wait_for_kinds(lab);
    for command in
        [&["viz", "stat", "deploy"][..], &["viz", "edges", "po"], &["viz", "list"], &["viz", "top", "deploy"]]
    {
        let text = refusal(&lab.weft(command, ""));
        assert!(
            text.contains("there is no namespace weft-viz")
                && text.contains("weft viz install | kubectl apply"),
            "{text}"
        );
    }
    let text = refusal(&lab.weft(&["viz", "dashboard", "--wait", "0s", "--show", "url"], ""));
    assert!(text.contains("weft viz install"), "{text}");
    let text = refusal(&lab.weft(&["viz", "uninstall"], ""));
    assert!(text.contains("not installed"), "{text}");
}

fn without_control_plane(lab: &Lab) {
    let text = refusal(&lab.weft(&["-L", "nowhere", "viz", "install"], ""));
    assert!(
        text.contains("control plane must be installed first") && text.contains("weft install"),
        "{text}"
    );
}

fn install(lab: &Lab) {
    let manifests = stdout(&lab.weft(&["viz", "install"], ""));
    lab.kubectl(&["apply", "-f", "-"], &manifests);
    after_install(lab);
}

/// What controllers, kubelets and tap would do.
fn after_install(lab: &Lab) {
    for (at, component) in ["web", "tap", "prometheus"].into_iter().enumerate() {
        lab.patch(
            &["-n", "weft-viz", &format!("deployment/{component}"), "--subresource=status"],
            &json!({ "status": { "observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 } }),
        );
        let labels = json!({
            "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
            "linkerd.io/extension": "viz",
            "component": component,
        });
        let ip = format!("10.244.1.{}", 20 + at);
        let mut pod = lab_objects::pod("weft-viz", &format!("{component}-1"), "n1", &ip, &labels);
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
        lab.apply(&pod);
    }
    serve(lab, &["web-1", "tap-1", "prometheus-1"]);
    trust_tap(lab);
}

/// The proxy of n1 serves these pods of weft-viz.
fn serve(lab: &Lab, pods: &[&str]) {
    let mut config = lab_objects::config("web");
    for pod in pods {
        config["workloads"][format!("weft-viz/{pod}")] = json!({ "state": "SERVED", "reason": "" });
    }
    lab.page(0, &config, lab_objects::METRICS);
}

fn trust_tap(lab: &Lab) {
    use base64::Engine;
    let roots = lab.kubectl(
        &["-n", "weft", "get", "cm", "weft-identity-trust-roots", "-o", r"jsonpath={.data.ca-bundle\.crt}"],
        "",
    );
    let bundle = base64::engine::general_purpose::STANDARD.encode(roots);
    lab.patch(&["apiservice/v1alpha1.tap.linkerd.io"], &json!({ "spec": { "caBundle": bundle } }));
}

fn installed(lab: &Lab) {
    let text = refusal(&lab.weft(&["viz", "install"], ""));
    assert!(
        text.contains("in the namespace weft-viz already") && text.contains("weft viz install --upgrade"),
        "{text}"
    );
    let text = refusal(&lab.weft(&["viz", "--viz-namespace", "other", "install", "--upgrade"], ""));
    assert!(text.contains("but in weft-viz"), "{text}");
}

fn upgrade(lab: &Lab) {
    let same = stdout(&lab.weft(&["viz", "install", "--upgrade"], ""));
    let diff = lab.try_kubectl(&["diff", "-f", "-"], &same);
    assert_eq!(String::from_utf8_lossy(&diff.stdout), "", "an upgrade without values changes nothing");
    // What the control plane was told, weft-viz is told, too.
    failures::value(lab, "clusterDomain", json!("example.org"));
    let changed = stdout(&lab.weft(&["viz", "install", "--upgrade", "--set", "prometheus.retention=2d"], ""));
    failures::value(lab, "clusterDomain", json!("cluster.local"));
    assert!(changed.contains("--cluster-domain=example.org") && changed.contains("2d"), "{changed}");
}

fn check(lab: &Lab) -> Vec<Found> {
    lab.found("kubeconfig", &["viz", "check"])
}

/// The API server cannot reach tap, and nobody can forward a port: no kubelet runs.
const NEEDS_NODES: &[&str] = &[
    "tap API service is running",
    "can initialize the viz client",
    "viz extension self-check",
    "node proxies are scraped",
];

fn healthy(lab: &Lab) {
    let found = check(lab);
    let problems: Vec<_> = found
        .iter()
        .filter(|check| check.result != "success" && !NEEDS_NODES.contains(&check.description.as_str()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let last = found.last().unwrap();
    assert_eq!((last.description.as_str(), last.result.as_str()), ("can initialize the viz client", "error"));
    assert!(last.hint.ends_with("#weft-viz-existence-client"));
}

struct Failure {
    description: &'static str,
    result: &'static str,
    says: &'static str,
    anchor: &'static str,
    break_it: fn(&Lab),
    mend_it: fn(&Lab),
}

fn fails(lab: &Lab, failure: &Failure) {
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
    description: "weft-viz Namespace exists",
    result: "error",
    says: "has no label linkerd.io/extension=viz",
    anchor: "weft-viz-ns-exists",
    break_it: |lab| drop(lab.kubectl(&["label", "namespace", "weft-viz", "linkerd.io/extension-"], "")),
    mend_it: |lab| drop(lab.kubectl(&["label", "namespace", "weft-viz", "linkerd.io/extension=viz"], "")),
};

const NO_ROLE: Failure = Failure {
    description: "weft-viz ClusterRoles exist",
    result: "error",
    says: "weft-viz-reader",
    anchor: "weft-viz-cr-exists",
    break_it: |lab| failures::take(lab, "default", "clusterrole", "weft-viz-reader"),
    mend_it: failures::put,
};

const NO_BINDING: Failure = Failure {
    description: "weft-viz ClusterRoleBindings exist",
    result: "error",
    says: "weft-viz-tap",
    anchor: "weft-viz-crb-exists",
    break_it: |lab| failures::take(lab, "default", "clusterrolebinding", "weft-viz-tap"),
    mend_it: failures::put,
};

const NOT_READY: Failure = Failure {
    description: "viz extension pods are running",
    result: "error",
    says: "tap-1 is running, but not ready",
    anchor: "weft-viz-pods-running",
    break_it: |lab| failures::ready(lab, "weft-viz", "tap-1", false),
    mend_it: |lab| failures::ready(lab, "weft-viz", "tap-1", true),
};

const NOT_SERVED: Failure = Failure {
    description: "viz extension pods are in the mesh",
    result: "warning",
    says: "weft-viz/tap-1: the proxy of its node \"n1\" does not serve it",
    anchor: "weft-viz-pods-meshed",
    break_it: |lab| serve(lab, &["web-1", "prometheus-1"]),
    mend_it: |lab| serve(lab, &["web-1", "tap-1", "prometheus-1"]),
};

const OTHER_VERSION: Failure = Failure {
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

fn no_tap(lab: &Lab) {
    let found = check(lab);
    let check = found.iter().find(|check| check.description == "tap API service is running").unwrap();
    assert_eq!(check.result, "error");
    assert!(check.error.contains("v1alpha1.tap.linkerd.io"), "{check:#?}");
    assert!(check.hint.ends_with("#weft-tap-api"));
    // The tap itself says the same.
    let output = lab.weft(&["viz", "tap", "deploy/web"], "");
    let text = refusal(&output);
    assert!(text.contains("the tap API is not available") && text.contains("weft viz check"), "{text}");
}

fn no_rights(lab: &Lab) {
    for check in lab.found("kubeconfig-nobody", &["viz", "check"]) {
        let harmless = ["can initialize the client", "can query the Kubernetes API"];
        assert!(check.result != "success" || harmless.contains(&check.description.as_str()), "{check:#?}");
    }
    let text = refusal(&lab.weft_as("kubeconfig-nobody", &["viz", "stat", "deploy"], ""));
    assert!(text.contains("cannot look for weft-viz") && text.contains("administrator"), "{text}");
}

fn included(lab: &Lab) {
    let found = lab.check(&[]);
    assert!(found.iter().any(|check| check.category == "weft-viz"), "{found:#?}");
    let pre = lab.check(&["--crds"]);
    assert!(pre.iter().all(|check| check.category != "weft-viz"));
}

fn uninstall(lab: &Lab) {
    let installed = objects(&stdout(&lab.weft(&["viz", "install", "--upgrade"], "")));
    let text = stdout(&lab.weft(&["viz", "uninstall"], ""));
    let printed = objects(&text);
    let names =
        |objects: &std::collections::BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&printed), names(&installed));
    let gone = lab.try_kubectl(&["delete", "--dry-run=server", "-f", "-"], &text);
    assert!(gone.status.success(), "{}", stderr(&gone));
    lab.kubectl(&["delete", "apiservice", "v1alpha1.tap.linkerd.io"], "");
    lab.kubectl(&["label", "namespace", "weft-viz", "linkerd.io/extension-"], "");
}
