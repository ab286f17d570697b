//! The commands, one after the other, on one cluster: what a user does.

use std::{process::Output, sync::Arc};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{api_server::kubeconfig_text, lab::Lab, lazy::Lazy, objects};

type Test = (&'static str, fn(&Lab));

/// In this order: later ones need what earlier ones have installed.
const TESTS: &[Test] = &[
    ("a_missing_kubeconfig_is_explained", no_kubeconfig),
    ("an_api_server_that_does_not_answer_is_explained", no_api_server),
    ("missing_rights_are_explained", no_rights),
    ("version_says_unavailable_before_the_install", version_before),
    ("check_pre_passes_on_an_empty_cluster", pre),
    ("install_refuses_without_the_crds", without_crds),
    ("install_gives_manifests_that_the_api_server_accepts", install),
    ("install_refuses_where_weft_is_installed", installed),
    ("install_does_not_replace_definitions_of_another_mesh", foreign_definitions),
    ("version_says_the_installed_version", version_after),
    ("upgrade_keeps_certificates_and_values", upgrade),
    ("prune_prints_what_this_version_no_longer_has", prune),
    ("inject_changes_nothing_but_the_annotation", inject),
    ("uninject_restores_the_manifest", uninject),
    ("uninstall_refuses_while_workloads_are_meshed", uninstall_refuses),
];

pub(crate) fn trials(lab: &Arc<Lazy>) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let (lab, test) = (lab.clone(), *test);
        Trial::test(*name, move || {
            test(lab.get());
            Ok(())
        })
    };
    TESTS.iter().map(trial).collect()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "a refused command prints no manifests");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn no_kubeconfig(lab: &Lab) {
    let text = refusal(&lab.weft_as("does-not-exist", &["install"], ""));
    assert!(text.contains("does-not-exist") && text.contains("--kubeconfig"), "{text}");
}

fn no_api_server(lab: &Lab) {
    lab.write("kubeconfig-away", &kubeconfig_text("https://127.0.0.1:1", "admin"));
    let text = refusal(&lab.weft_as("kubeconfig-away", &["install"], ""));
    assert!(text.contains("the API server does not answer") && text.contains("current-context"), "{text}");
}

fn no_rights(lab: &Lab) {
    let text = refusal(&lab.weft_as("kubeconfig-nobody", &["install"], ""));
    assert!(text.contains("cannot list resource \"configmaps\"") && text.contains("administrator"), "{text}");
    lab.write("kubeconfig-stranger", &kubeconfig_text(crate::api_server::URL, "unknown"));
    let text = refusal(&lab.weft_as("kubeconfig-stranger", &["install"], ""));
    assert!(text.contains("does not accept the credentials"), "{text}");
}

fn version_before(lab: &Lab) {
    let text = stdout(&lab.weft(&["version"], ""));
    assert_eq!(text, format!("Client version: {}\nServer version: unavailable\n", env!("CARGO_PKG_VERSION")));
}

fn pre(lab: &Lab) {
    let output = lab.weft(&["check", "--pre"], "");
    let text = stdout(&output);
    assert!(text.starts_with("kubernetes-api\n--------------\n√ can initialize the client\n"), "{text}");
    assert!(text.ends_with("\n\nStatus check results are √\n"), "{text}");
    assert!(!text.contains('‼') && !text.contains('×'), "{text}");
}

fn without_crds(lab: &Lab) {
    let text = refusal(&lab.weft(&["install"], ""));
    assert!(
        text.contains("servers.policy.linkerd.io") && text.contains("weft install --crds | kubectl apply"),
        "{text}"
    );
}

fn install(lab: &Lab) {
    let crds = stdout(&lab.weft(&["install", "--crds"], ""));
    lab.kubectl(&["apply", "-f", "-"], &crds);
    let manifests = stdout(&lab.weft(&["install"], ""));
    lab.kubectl(&["apply", "-f", "-"], &manifests);
    objects::after_install(lab);
}

fn installed(lab: &Lab) {
    let text = refusal(&lab.weft(&["install"], ""));
    assert!(
        text.contains("in the namespace weft already") && text.contains("weft upgrade | kubectl apply"),
        "{text}"
    );
    let text = refusal(&lab.weft(&["-L", "other", "install"], ""));
    assert!(text.contains("a cluster can have only one") && text.contains("weft -L weft upgrade"), "{text}");
}

/// As where Linkerd has installed its own definitions of the same kinds.
fn foreign_definitions(lab: &Lab) {
    let label = |label: &str| {
        lab.kubectl(&["label", "--overwrite", "crd", "servers.policy.linkerd.io", label], "");
    };
    label("app.kubernetes.io/part-of=linkerd");
    let text = refusal(&lab.weft(&["install", "--crds"], ""));
    assert!(
        text.contains("servers.policy.linkerd.io: it serves v1beta3, which is what weft reads")
            && !text.contains("serverauthorizations")
            && text.contains("weft install --crds --ignore-cluster"),
        "{text}"
    );
    stdout(&lab.weft(&["install", "--crds", "--ignore-cluster"], ""));
    label("app.kubernetes.io/part-of=weft");
    stdout(&lab.weft(&["install", "--crds"], ""));
}

fn version_after(lab: &Lab) {
    let version = env!("CARGO_PKG_VERSION");
    let text = stdout(&lab.weft(&["version", "--proxy"], ""));
    assert_eq!(
        text,
        format!(
            "Client version: {version}\nServer version: {version}\nProxy versions:\n\t{version} (2 nodes)\n"
        )
    );
    assert_eq!(stdout(&lab.weft(&["version", "--client", "--short"], "")), format!("{version}\n"));
}

fn upgrade(lab: &Lab) {
    let before =
        lab.kubectl(&["-n", "weft", "get", "secret", "weft-identity-issuer", "-o", "jsonpath={.data}"], "");
    let changed = stdout(&lab.weft(
        &[
            "upgrade",
            "--set",
            "controllerLogLevel=debug",
            "--default-inbound-policy",
            "cluster-authenticated",
            "--skip-inbound-ports",
            "4000-4010",
            "--proxy-memory-limit",
            "1Gi",
        ],
        "",
    ));
    lab.kubectl(&["apply", "-f", "-"], &changed);
    let after =
        lab.kubectl(&["-n", "weft", "get", "secret", "weft-identity-issuer", "-o", "jsonpath={.data}"], "");
    assert_eq!(before, after, "the issuer stays");
    // What one upgrade was told, the next one knows.
    let again = stdout(&lab.weft(&["upgrade"], ""));
    for kept in
        ["value: \"debug\"", "value: \"cluster-authenticated\"", "value: \"4000-4010\"", "memory: \"1Gi\""]
    {
        assert!(again.contains(kept), "{kept} is missing in {again}");
    }
    assert!(
        lab.kubectl(&["diff", "-f", "-"], &again).is_empty(),
        "an upgrade without changes changes nothing"
    );
    // The same from the manifests.
    let from = stdout(&lab.weft(&["upgrade", "--from-manifests", "-"], &changed));
    assert_eq!(from, again);
    let text = refusal(&lab.weft(&["-L", "other", "upgrade"], ""));
    assert!(text.contains("not installed in the namespace other"), "{text}");
}

fn prune(lab: &Lab) {
    assert_eq!(stdout(&lab.weft(&["prune"], "")), "");
    let old = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"old","namespace":"weft","labels":{"linkerd.io/control-plane-ns":"weft"}}}"#;
    lab.kubectl(&["apply", "-f", "-"], old);
    let text = stdout(&lab.weft(&["prune"], ""));
    assert_eq!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: old\n  namespace: weft\n");
    lab.kubectl(&["delete", "-f", "-"], &text);
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: emoji
  namespace: default
spec:
  selector:
    matchLabels: {app: emoji}
  template:
    metadata:
      labels: {app: emoji}
    spec:
      containers:
      - {name: emoji, image: none}
"#;

fn inject(lab: &Lab) {
    lab.kubectl(&["apply", "-f", "-"], DEPLOYMENT);
    let get = || -> Value {
        serde_json::from_str(&lab.kubectl(&["get", "deploy", "emoji", "-o", "json"], "")).unwrap()
    };
    let before = get();
    let yaml = lab.kubectl(&["get", "deploy", "-o", "yaml"], "");
    let output = lab.weft(&["inject", "-"], &yaml);
    assert_eq!(String::from_utf8(output.stderr.clone()).unwrap(), "\ndeployment \"emoji\" injected\n\n");
    lab.kubectl(&["apply", "-f", "-"], &stdout(&output));
    let after = get();
    assert_eq!(after["metadata"]["annotations"]["linkerd.io/inject"], "enabled");
    // Only another template would be a rollout.
    assert_eq!(after["spec"], before["spec"]);
}

fn uninject(lab: &Lab) {
    let yaml = lab.kubectl(&["get", "deploy", "-o", "yaml"], "");
    let output = lab.weft(&["uninject", "-"], &yaml);
    assert_eq!(String::from_utf8(output.stderr.clone()).unwrap(), "\ndeployment \"emoji\" uninjected\n\n");
    lab.kubectl(&["apply", "-f", "-"], &stdout(&output));
    let annotation = lab.kubectl(
        &["get", "deploy", "emoji", "-o", r"jsonpath={.metadata.annotations.linkerd\.io/inject}"],
        "",
    );
    assert_eq!(annotation, "");
    lab.kubectl(&["delete", "deploy", "emoji"], "");
}

fn uninstall_refuses(lab: &Lab) {
    objects::demo(lab);
    let mut alone = objects::pod("default", "alone", "n1", "10.244.1.9", &json!({}));
    alone["metadata"]["annotations"] = json!({ "linkerd.io/inject": "enabled" });
    lab.apply(&alone);
    let text = refusal(&lab.weft(&["uninstall"], ""));
    assert!(
        text.contains("namespace/demo")
            && text.contains("pod/alone in default")
            && text.contains("weft uninject"),
        "{text}"
    );
    lab.kubectl(&["delete", "pod", "alone", "--wait=false"], "");
    let all = stdout(&lab.weft(&["uninstall", "--force"], ""));
    for name in ["kind: Namespace\n", "name: weft-control\n", "name: weft-proxy\n", "kind: ClusterRole\n"] {
        assert!(all.contains(name), "{name} is missing in {all}");
    }
    assert!(!all.contains("CustomResourceDefinition"), "policies survive an uninstall");
    let crds = stdout(&lab.weft(&["uninstall", "--crds"], ""));
    assert!(crds.contains("name: servers.policy.linkerd.io"), "{crds}");
    let gone = lab.try_kubectl(&["delete", "--dry-run=server", "-f", "-"], &all);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
}
