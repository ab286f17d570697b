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
    viz_failures::{FAILURES, check, fails},
    viz_objects::{self, after_install},
};

type Test = (&'static str, fn(&Lab));

/// In this order: they change one installation. Between the two lists, it is broken and mended.
const INSTALLATION: &[Test] = &[
    ("viz_commands_say_how_to_install_it", not_installed),
    ("viz_install_refuses_without_the_control_plane", without_control_plane),
    ("viz_install_gives_manifests_that_the_api_server_accepts", install),
    ("viz_install_refuses_where_it_is_installed", installed),
    ("viz_upgrade_changes_only_what_it_is_told", upgrade),
    ("viz_check_passes_what_can_be_seen_without_a_kubelet", healthy),
    ("viz_check_finds_that_there_is_no_namespace", no_namespace),
];
const AFTERWARDS: &[Test] = &[
    ("viz_check_finds_a_tap_that_the_api_server_cannot_reach", no_tap),
    ("viz_check_without_rights_passes_nothing", no_rights),
    ("every_check_of_viz_has_a_state_in_which_it_fails", complete),
    ("the_check_of_the_mesh_includes_viz", included),
    ("viz_uninstall_prints_all_that_was_installed", uninstall),
];

pub(crate) fn trials(lab: &Arc<Lazy>) -> Vec<Trial> {
    let trial = |name: &str, test: Box<dyn Fn(&Lab) + Send>| {
        let lab = lab.clone();
        Trial::test(name, move || {
            let lab = lab.get();
            checks::installed(lab);
            viz_objects::served(lab);
            test(lab);
            Ok(())
        })
    };
    let of = |(name, test): &Test| trial(name, Box::new(*test));
    let failures = FAILURES.iter().map(|&failure| trial(failure.name, Box::new(|lab| fails(lab, failure))));
    INSTALLATION.iter().map(of).chain(failures).chain(AFTERWARDS.iter().map(of)).collect()
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

fn no_namespace(lab: &Lab) {
    let found = lab.found("kubeconfig", &["viz", "--viz-namespace", "not-there", "check"]);
    let last = found.last().unwrap();
    assert_eq!((last.description.as_str(), last.result.as_str()), ("weft-viz Namespace exists", "error"));
    assert!(last.error.contains("The \"not-there\" namespace does not exist"), "{last:#?}");
    assert!(
        last.error.contains("weft viz install") && last.hint.ends_with("#weft-viz-ns-exists"),
        "{last:#?}"
    );
}

/// What needs nodes fails on the cluster of tests/kubernetes, and with what tests/viz serves.
fn complete(lab: &Lab) {
    let elsewhere = ["can initialize the client", "can query the Kubernetes API"];
    for Found { description, .. } in check(lab) {
        let covered = FAILURES.iter().any(|failure| failure.description == description);
        let is_known =
            elsewhere.contains(&description.as_str()) || NEEDS_NODES.contains(&description.as_str());
        assert!(covered || is_known, "no test lets {description:?} fail");
    }
}

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
