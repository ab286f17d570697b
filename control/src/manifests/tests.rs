//! Checks how manifests are read, and where mistakes are reported.

use std::{fs, path::PathBuf};

use super::{watch::Watch, *};
use crate::model::{Event, Kind, Object};

struct Folders {
    dir: tempfile::TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self, name: &str) -> PathBuf {
        let root = self.dir.path().join(name);
        fs::create_dir_all(&root).unwrap();
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self, roots: &[&str]) -> Loaded {
        load(&roots.iter().map(|root| self.root(root)).collect::<Vec<_>>())
    }
}

fn pod(name: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: demo\n{rest}")
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.documents.iter().map(|document| document.key.to_string()).collect()
}

#[test]
fn reads_multi_documents_lists_json_and_sub_folders() {
    let folders = Folders::new();
    let text = format!("# first\n---\n{}---\n# nothing\n---\n{}...\n", pod("a", ""), pod("b", ""));
    folders.write("m/one.yaml", &text);
    folders.write("m/deep/er/two.yml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: demo\n");
    folders.write(
        "m/three.json",
        r#"{"apiVersion":"v1","kind":"ServiceList","items":[{"metadata":{"name":"web"}}]}"#,
    );
    folders.write("m/.hidden.yaml", "][");
    folders.write("m/readme.txt", "][");
    let loaded = folders.load(&["m"]);
    assert_eq!(loaded.problems, []);
    assert_eq!(names(&loaded), ["Namespace demo", "Service default/web", "Pod demo/a", "Pod demo/b"]);
    let lines: Vec<_> = loaded.documents.iter().map(|document| document.locations[0].line).collect();
    assert_eq!(lines, [4, 1, 3, 11]);
}

#[test]
fn a_mistake_has_file_line_field_and_advice() {
    let folders = Folders::new();
    let text = format!("{}---\n{}", pod("a", ""), pod("b", "status:\n  podIP: 10.1.1.300\n"));
    folders.write("m/x.yaml", &text);
    let problems = folders.load(&["m"]).problems;
    let text = problems[0].to_string();
    let file = folders.dir.path().join("m/x.yaml");
    let start = format!("{}:13:10: status.podIP of Pod demo/b: \"10.1.1.300\" is not an IP", file.display());
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains("; write an IPv4"), "{text}");
}

#[test]
fn every_kind_of_mistake_is_found_at_its_line() {
    let service =
        |rest: &str| format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n{rest}");
    let annotated = |line: &str| pod("a", &format!("  annotations:\n    {line}\n"));
    for (text, line, field) in [
        ("apiVersion: v1\nkind: Pod\n  metadata: {}\n".to_owned(), 3, ""),
        ("apiVersion: v1\nkind: Pod\nkind: Pod\n".to_owned(), 1, ""),
        ("apiVersion: v1\nmetadata: {}\n".to_owned(), 1, "kind"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n".to_owned(), 4, "metadata.name"),
        (pod("A_b", ""), 4, "metadata.name"),
        (pod("a", "spec:\n  containers: 5\n"), 7, "spec.containers"),
        (pod("a", "spec:\n  hostNetwork: maybe\n"), 7, "spec.hostNetwork"),
        (pod("a", "spec:\n  nodeName: a..b\n"), 7, "spec.nodeName"),
        (service("  clusterIP: ten\n"), 6, "spec.clusterIP"),
        (service("  clusterIPs:\n  - 10.0.0.1\n  - 10.0.0.\n"), 8, "spec.clusterIPs[1]"),
        (service("  ports:\n  - port: 80\n  - port: 70000\n"), 8, "spec.ports[1].port"),
        (service("  ports:\n  - port: 80\n    targetPort: HTTP\n"), 8, "spec.ports[0].targetPort"),
        (annotated("linkerd.io/inject: \"on\""), 7, "metadata.annotations[\"linkerd.io/inject\"]"),
        (
            annotated("config.weft.dev/failmode: open"),
            7,
            "metadata.annotations[\"config.weft.dev/failmode\"]",
        ),
        (annotated("config.linkerd.io/opaque-ports: 3306"), 7, "metadata.annotations"),
        (
            annotated("config.linkerd.io/skip-subnets: 10.0.0.1/33"),
            7,
            "metadata.annotations[\"config.linkerd.io/skip-subnets\"]",
        ),
        (
            annotated("config.linkerd.io/access-log: combined"),
            7,
            "metadata.annotations[\"config.linkerd.io/access-log\"]",
        ),
        (
            annotated("config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout: \"yes\""),
            7,
            "metadata.annotations[\"config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout\"]",
        ),
    ] {
        let folders = Folders::new();
        folders.write("m/x.yaml", &text);
        let problems = folders.load(&["m"]).problems;
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert_eq!(problems[0].location.line, line, "{}", problems[0]);
        assert!(problems[0].field.starts_with(field), "{}", problems[0]);
    }
}

#[test]
fn a_broken_file_keeps_its_last_valid_state() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", ""));
    folders.write("m/b.yaml", &pod("b", ""));
    let mut loader = Loader::new(vec![folders.root("m")]);
    assert_eq!(names(&loader.reload()), ["Pod demo/a", "Pod demo/b"]);
    folders.write("m/a.yaml", &format!("{}---\n][", pod("a2", "")));
    let broken = loader.reload();
    assert_eq!(names(&broken), ["Pod demo/a", "Pod demo/b"]);
    assert_eq!((broken.problems.len(), broken.problems[0].location.line), (1, 7));
    folders.write("m/a.yaml", &pod("a2", ""));
    let corrected = loader.reload();
    assert_eq!(
        (names(&corrected), corrected.problems.len()),
        (vec!["Pod demo/a2".into(), "Pod demo/b".into()], 0)
    );
    fs::remove_file(folders.dir.path().join("m/b.yaml")).unwrap();
    assert_eq!(names(&loader.reload()), ["Pod demo/a2"]);
    fs::rename(folders.dir.path().join("m"), folders.dir.path().join("gone")).unwrap();
    let gone = loader.reload();
    assert_eq!((names(&gone), gone.problems.len()), (vec!["Pod demo/a2".into()], 1));
}

#[test]
fn unchanged_documents_are_the_same_arc() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", ""));
    let mut loader = Loader::new(vec![folders.root("m")]);
    let first = loader.reload();
    folders.write("m/b.yaml", &pod("b", ""));
    let second = loader.reload();
    assert!(std::sync::Arc::ptr_eq(&first.documents[0], &second.documents[0]));
}

#[test]
fn overlays_are_merge_patches() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", "  labels: {app: web, tier: back}\nspec:\n  nodeName: one\n"));
    folders.write("o/a.yaml", &pod("a", "  labels: {tier: null, zone: z}\nspec:\n  nodeName: two\nstatus:\n  podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]\n"));
    folders.write("o/only.yaml", &pod("only", ""));
    let loaded = folders.load(&["m", "o"]);
    assert_eq!(loaded.problems, []);
    assert_eq!(names(&loaded), ["Pod demo/a", "Pod demo/only"]);
    let Object::Pod(pod) = &*loaded.documents[0].object else { panic!() };
    let labels: Vec<_> =
        pod.metadata.labels.iter().flatten().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(labels, [("app", "web"), ("zone", "z")]);
    assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("two"));
    assert_eq!(pod.status.as_ref().unwrap().pod_ips.as_ref().unwrap().len(), 2);
    assert_eq!(loaded.documents[0].locations.len(), 2);
}

#[test]
fn the_same_object_twice_in_a_folder_is_a_mistake() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", "spec:\n  nodeName: one\n"));
    folders.write("m/b.yaml", &pod("a", "spec:\n  nodeName: two\n"));
    let loaded = folders.load(&["m"]);
    let Object::Pod(pod) = &*loaded.documents[0].object else { panic!() };
    assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("one"));
    assert!(
        loaded.problems[0].to_string().contains("b.yaml:1:1: metadata.name of Pod demo/a: the same object")
    );
}

#[test]
fn mistakes_in_policies_are_found_at_their_field() {
    let policy = |kind: &str, version: &str, spec: &str| {
        format!(
            "{{apiVersion: policy.linkerd.io/{version}, kind: {kind}, metadata: {{name: p, namespace: demo}}, spec: {{{spec}}}}}"
        )
    };
    let authorization = |spec: &str| policy("ServerAuthorization", "v1beta1", spec);
    let authorization_policy = |spec: &str| policy("AuthorizationPolicy", "v1alpha1", spec);
    let mesh_tls = |spec: &str| policy("MeshTLSAuthentication", "v1alpha1", spec);
    let networks = |spec: &str| policy("NetworkAuthentication", "v1alpha1", &format!("networks: [{spec}]"));
    let target = "targetRef: {group: policy.linkerd.io, kind: Server, name: s}";
    let refs = |list: &[&str]| {
        let reference = |kind: &&str| format!("{{group: policy.linkerd.io, kind: {kind}, name: x}}");
        let list: Vec<_> = list.iter().map(reference).collect();
        authorization_policy(&format!("{target}, requiredAuthenticationRefs: [{}]", list.join(", ")))
    };
    for (text, field) in [
        (policy("Server", "v1beta3", "port: 70000"), "spec.port"),
        (policy("Server", "v1beta3", "podSelector: {}"), "spec.port"),
        (policy("Server", "v1beta3", "port: 80, accessPolcy: deny"), "spec.accessPolcy"),
        (authorization("client: {unauthenticated: true}"), "spec.server"),
        (authorization("server: {name: s}, client: {meshTLSS: {}}"), "spec.client.meshTLSS"),
        (authorization_policy("requiredAuthenticationRefs: []"), "spec.targetRef"),
        (policy("NetworkAuthentication", "v1alpha1", "networks: []"), "spec.networks"),
        (authorization("server: {name: s, selector: {}}"), "spec.server.selector"),
        (authorization("client: {networks: [{cidr: 10.0.0.0/40}]}"), "spec.client.networks[0].cidr"),
        (
            authorization("client: {unauthenticated: true, meshTLS: {identities: [\"*\"]}}"),
            "spec.client.meshTLS",
        ),
        (authorization("client: {meshTLS: {identities: [\"*x\"]}}"), "spec.client.meshTLS.identities[0]"),
        (
            authorization("client: {meshTLS: {serviceAccounts: [{name: A}]}}"),
            "spec.client.meshTLS.serviceAccounts[0].name",
        ),
        (authorization_policy("targetRef: {kind: Deployment, name: x}"), "spec.targetRef.kind"),
        (authorization_policy("targetRef: {kind: Namespace, name: other}"), "spec.targetRef.name"),
        (refs(&["MeshTLSAuthentication", "MeshTLSAuthentication"]), "spec.requiredAuthenticationRefs"),
        (refs(&["NetworkAuthentication", "NetworkAuthentication"]), "spec.requiredAuthenticationRefs"),
        (refs(&["Server"]), "spec.requiredAuthenticationRefs[0].kind"),
        (mesh_tls("identities: []"), "spec"),
        (mesh_tls("identityRefs: [{kind: Pod, name: x}]"), "spec.identityRefs[0].kind"),
        (
            mesh_tls("identityRefs: [{kind: Namespace, name: x, namespace: y}]"),
            "spec.identityRefs[0].namespace",
        ),
        (networks("{cidr: 10.0.0.0/8, except: [11.0.0.0/9]}"), "spec.networks[0].except[0]"),
        (networks("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}"), "spec.networks[0].except[0]"),
    ] {
        let folders = Folders::new();
        folders.write("m/x.yaml", &text);
        let fields: Vec<_> = folders.load(&["m"]).problems.into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, [field], "{text}");
    }
    let folders = Folders::new();
    let right = [
        authorization(
            "server: {selector: {matchLabels: {app: a}}}, client: {networks: [{cidr: 10.0.0.1}], unauthenticated: true}",
        ),
        authorization_policy(
            "targetRef: {kind: Namespace, name: demo}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: web, namespace: other}]",
        ),
        refs(&["MeshTLSAuthentication", "NetworkAuthentication"]),
        mesh_tls(
            "identities: [\"*\", \"*.demo.serviceaccount.identity.weft.cluster.local\"], identityRefs: [{kind: Namespace, name: x}]",
        ),
        networks("{cidr: 0.0.0.0/0, except: [10.0.0.0/8, 11.0.0.1]}"),
    ];
    for (number, text) in right.iter().enumerate() {
        folders.write(&format!("{number}/x.yaml"), text);
        assert_eq!(folders.load(&[&number.to_string()]).problems, [], "{text}");
    }
}

#[test]
fn other_kinds_are_reported_once_and_ignored() {
    let folders = Folders::new();
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n".repeat(3);
    folders.write("m/a.yaml", &format!("{other}{}", pod("a", "")));
    let loaded = folders.load(&["m"]);
    assert_eq!((names(&loaded), loaded.problems.len()), (vec!["Pod demo/a".into()], 0));
    assert_eq!((loaded.ignored.len(), loaded.ignored[0].kind.as_str()), (1, "v1 ConfigMap"));
}

#[tokio::test]
async fn a_change_in_a_new_sub_folder_is_noticed() {
    let folders = Folders::new();
    let mut watch = Watch::new(&[folders.root("m")]).unwrap();
    folders.write("m/deep/a.yaml", &pod("a", ""));
    let second = std::time::Duration::from_secs(1);
    tokio::time::timeout(second, watch.changed()).await.expect("noticed before the re-scan");
}

fn described(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::Applied(object) => format!("applied {}", object.key()),
        Event::Deleted(key) => format!("deleted {key}"),
        Event::Synced(kind) => format!("synced {kind}"),
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn a_source_sends_a_list_and_then_differences() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", ""));
    folders.write("m/b.yaml", &pod("b", ""));
    let mut source = ManifestSource::new(vec![folders.root("m")]).unwrap();
    let mut first = vec!["applied Pod demo/a".to_owned(), "applied Pod demo/b".into()];
    first.extend(Kind::ALL.map(|kind| format!("synced {kind}")));
    assert_eq!(described(&source.read()), first);
    assert_eq!(source.read(), []);

    // A changed name means that one object is deleted and another one is added.
    folders.write("m/a.yaml", &pod("c", ""));
    folders.write("m/b.yaml", &pod("b", "spec:\n  nodeName: one\n"));
    let second = source.read();
    assert_eq!(described(&second), ["deleted Pod demo/a", "applied Pod demo/b", "applied Pod demo/c"]);
    let Event::Applied(object) = &second[1] else { panic!() };
    let Object::Pod(changed) = &**object else { panic!() };
    assert_eq!(changed.spec.as_ref().unwrap().node_name.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_source_says_nothing_about_an_object_with_a_mistake() {
    let folders = Folders::new();
    folders.write("m/a.yaml", &pod("a", ""));
    folders.write("m/b.yaml", &pod("b", ""));
    let mut source = ManifestSource::new(vec![folders.root("m")]).unwrap();
    source.read();
    folders.write("m/a.yaml", &pod("a", "spec:\n  nodeName: a..b\n"));
    folders.write("m/b.yaml", &pod("b", "spec:\n  nodeName: one\n"));
    assert_eq!(described(&source.read()), ["applied Pod demo/b"]);
    assert_eq!(source.problem_count(), 1);
    fs::remove_file(folders.dir.path().join("m/a.yaml")).unwrap();
    assert_eq!(described(&source.read()), ["deleted Pod demo/a"]);
    assert_eq!(source.problem_count(), 0);
}
