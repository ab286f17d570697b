//! `weft authz`, `identity` and `diagnostics`: what a real weft-control says about objects of a real API server.

use std::{process::Output, sync::Arc};

use libtest_mimic::Trial;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::{checks::installed, control::Running, lab::Lab, lazy::Lazy, objects::pod};

type Test = (&'static str, fn(&Lab, &Running));

const TESTS: &[Test] = &[
    ("endpoints_are_printed_as_a_table_and_as_json", endpoints),
    ("a_name_that_is_none_is_refused_with_advice", bad_names),
    ("a_profile_says_what_an_address_or_name_is", profile),
    ("a_policy_says_who_may_connect_to_a_port", policy),
    ("authz_lists_what_covers_the_ports_of_a_resource", authz),
    ("authz_of_pods_without_servers_is_the_default_policy", authz_default),
    ("identity_prints_the_certificate_that_peers_are_shown", identity),
    ("identity_says_why_a_pod_has_none", no_identity),
];

pub(crate) fn trials(lab: &Arc<Lazy>) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let (lab, test) = (lab.clone(), *test);
        Trial::test(*name, move || {
            let lab = lab.get();
            installed(lab);
            shop(lab);
            test(lab, &Running::start(lab));
            clear(lab);
            Ok(())
        })
    };
    TESTS.iter().map(trial).collect()
}

/// A deployment of two pods with a service and a Server; and one without.
fn shop(lab: &Lab) {
    lab.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
    for (name, node, ip) in [("web-1", "n1", "10.244.1.11"), ("web-2", "n2", "10.244.2.11")] {
        lab.apply(&pod("shop", name, node, ip, &json!({ "app": "web" })));
    }
    lab.apply(&pod("shop", "db-1", "n1", "10.244.1.12", &json!({ "app": "db" })));
    lab.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "main", "image": "none" }] },
            },
        },
    }));
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "clusterIP": "10.96.7.7", "ports": [{ "port": 80, "targetPort": 8080 }], "selector": { "app": "web" } },
    }));
    let endpoint = |ip: &str, name: &str| {
        json!({
            "addresses": [ip], "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "namespace": "shop", "name": name },
        })
    };
    lab.apply(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "web-x", "namespace": "shop", "labels": { "kubernetes.io/service-name": "web" },
        },
        "endpoints": [endpoint("10.244.1.11", "web-1"), endpoint("10.244.2.11", "web-2")],
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
    }));
    for object in policies() {
        lab.apply(&object);
    }
}

/// The port 8080 needs an identity; 9000, which no container declares, is closed but to one network.
fn policies() -> [Value; 5] {
    let metadata = |name: &str| json!({ "name": name, "namespace": "shop" });
    let server = |name: &str, port: u16| {
        json!({
            "apiVersion": "policy.linkerd.io/v1beta3", "kind": "Server", "metadata": metadata(name),
            "spec": { "podSelector": { "matchLabels": { "app": "web" } }, "port": port, "proxyProtocol": "HTTP/1" },
        })
    };
    let target = |name: &str| json!({ "group": "policy.linkerd.io", "kind": "Server", "name": name });
    [
        server("web-http", 8080),
        server("web-admin", 9000),
        json!({
            "apiVersion": "policy.linkerd.io/v1alpha1", "kind": "MeshTLSAuthentication", "metadata": metadata("clients"),
            "spec": { "identities": ["client.shop.serviceaccount.identity.weft.cluster.local"] },
        }),
        json!({
            "apiVersion": "policy.linkerd.io/v1alpha1", "kind": "AuthorizationPolicy", "metadata": metadata("to-web"),
            "spec": {
                "targetRef": target("web-http"),
                "requiredAuthenticationRefs": [
                    { "group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "clients" },
                ],
            },
        }),
        json!({
            "apiVersion": "policy.linkerd.io/v1beta1", "kind": "ServerAuthorization", "metadata": metadata("from-office"),
            "spec": {
                "server": { "name": "web-http" },
                "client": { "unauthenticated": true, "networks": [{ "cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"] }] },
            },
        }),
    ]
}

/// Other tests expect none of this.
fn clear(lab: &Lab) {
    let kinds = "pods,deployments,services,endpointslices,servers,meshtlsauthentications,authorizationpolicies,\
                 serverauthorizations";
    lab.kubectl(&["-n", "shop", "delete", kinds, "--all", "--force", "--wait=false"], "");
}

fn ask(lab: &Lab, control: &Running, args: &[&str]) -> Output {
    let address = control.address.to_string();
    let mut all = args.to_vec();
    all.extend(["--api-addr", &address]);
    lab.weft(&all, "")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn endpoints(lab: &Lab, control: &Running) {
    let name = "web.shop.svc.cluster.local:80";
    let text = stdout(&ask(lab, control, &["diagnostics", "endpoints", name]));
    assert_eq!(
        text,
        "NAMESPACE   IP            PORT   POD     SERVICE\n\
         shop        10.244.1.11   8080   web-1   web.shop\n\
         shop        10.244.2.11   8080   web-2   web.shop\n"
    );
    let text = stdout(&ask(lab, control, &["diagnostics", "endpoints", name, "-o", "json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json[0]["address"], "10.244.1.11:8080");
    assert_eq!(json[0]["labels"]["serviceaccount"], "default");
    assert_eq!(json[0]["resource"]["name"], "web-1");
    assert_eq!(json[1]["service"], "web.shop");
    let text = stdout(&ask(lab, control, &["diagnostics", "endpoints", "web.shop.svc.cluster.local:81"]));
    assert_eq!(text, "No endpoints found.\n");
}

fn bad_names(lab: &Lab, control: &Running) {
    let text = refusal(&ask(lab, control, &["diagnostics", "endpoints", "web.shop:80"]));
    assert!(text.contains("write NAME.NAMESPACE.svc.cluster.local:PORT"), "{text}");
    let text = refusal(&ask(lab, control, &["diagnostics", "endpoints", "no.shop.svc.cluster.local:80"]));
    assert!(text.contains("Service no.shop not found"), "{text}");
    let text = refusal(&ask(lab, control, &["-n", "shop", "authz", "cronjob/x"]));
    assert!(text.contains("deploy/NAME"), "{text}");
    let text = refusal(&ask(lab, control, &["authz", "deploy/web"]));
    assert!(text.contains("is it in another namespace (-n)?"), "{text}");
}

fn profile(lab: &Lab, control: &Running) {
    let get = |destination: &str| -> Value {
        let text = stdout(&ask(lab, control, &["diagnostics", "profile", destination, "-o", "json"]));
        serde_json::from_str(&text).unwrap()
    };
    let by_name = get("web.shop.svc.cluster.local:80");
    assert_eq!(by_name["fullyQualifiedName"], "web.shop.svc.cluster.local");
    assert_eq!(by_name["retryBudget"], json!({"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"}));
    assert_eq!(get("10.96.7.7:80"), by_name);
    let of_pod = get("10.244.1.11:8080");
    assert_eq!(of_pod["endpoint"]["resource"]["name"], "web-1");
    assert_eq!(get("192.0.2.1:3306")["opaqueProtocol"], true);
    let yaml = stdout(&ask(lab, control, &["diagnostics", "profile", "10.96.7.7:80"]));
    assert!(yaml.contains("\nopaqueProtocol: false\n"), "{yaml}");
}

fn policy(lab: &Lab, control: &Running) {
    let args = ["-n", "shop", "diagnostics", "policy", "pod/web-1", "8080", "-o", "json"];
    let policy: Value = serde_json::from_str(&stdout(&ask(lab, control, &args))).unwrap();
    assert_eq!(policy["pod"], "shop/web-1");
    let server = &policy["server"];
    assert_eq!(server["labels"]["name"], "web-http");
    assert_eq!(server["serverIps"], json!(["10.244.1.11"]));
    assert_eq!(server["protocol"]["kind"], "http1");
    let all = server["authorizations"].as_array().unwrap();
    let named = |name: &str| all.iter().find(|authz| authz["metadata"]["name"] == name).unwrap();
    assert_eq!(
        named("to-web")["authentication"],
        json!({"meshTLS": {"identities": ["client.shop.serviceaccount.identity.weft.cluster.local"]}})
    );
    assert_eq!(named("from-office")["authentication"], "unauthenticated");
    assert_eq!(named("from-office")["networks"], json!([{"net": "10.1.0.0/16", "except": ["10.1.2.0/24"]}]));
    // Several pods are a list.
    let yaml = stdout(&ask(lab, control, &["-n", "shop", "diagnostics", "policy", "deploy/web", "9000"]));
    assert!(yaml.contains("- pod: shop/web-1\n") && yaml.contains("- pod: shop/web-2\n"), "{yaml}");
    // A token names another pod.
    let token = r#"{"ns":"shop","pod":"db-1"}"#;
    let args = ["-n", "shop", "diagnostics", "policy", "web-1", "8080", "-o", "json", "--token", token];
    let policy: Value = serde_json::from_str(&stdout(&ask(lab, control, &args))).unwrap();
    assert_eq!(policy["server"]["labels"]["name"], "all-unauthenticated");
}

fn authz(lab: &Lab, control: &Running) {
    let expected = "ROUTE   SERVER      AUTHORIZATION_POLICY   SERVER_AUTHORIZATION\n\
                    *       web-admin   -                      -\n\
                    *       web-http    -                      from-office\n\
                    *       web-http    to-web                 -\n";
    for resource in [&["deploy/web"][..], &["deploy", "web"], &["svc/web"], &["pod/web-2"]] {
        let args: Vec<&str> = ["-n", "shop", "authz"].iter().chain(resource).copied().collect();
        assert_eq!(stdout(&ask(lab, control, &args)), expected, "{resource:?}");
    }
}

fn authz_default(lab: &Lab, control: &Running) {
    let text = stdout(&ask(lab, control, &["-n", "shop", "authz", "pod/db-1"]));
    assert_eq!(
        text,
        "ROUTE   SERVER                        AUTHORIZATION_POLICY          SERVER_AUTHORIZATION\n\
         *       default:all-unauthenticated   default/all-unauthenticated   -\n"
    );
}

fn identity(lab: &Lab, _: &Running) {
    let identity = "default.shop.serviceaccount.identity.weft.cluster.local";
    let mut params = CertificateParams::new(vec![identity.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, identity);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let workload = json!({ "identity": identity, "certificates": [pem] });
    lab.certificates(0, &json!({ "workloads": { "shop/web-1": workload } }));
    let text = stdout(&lab.weft(&["-n", "shop", "identity", "web-1"], ""));
    for part in [
        "\nPOD web-1 (1 of 1)\n\nCertificate:\n",
        "Signature Algorithm: ECDSA-SHA256\n",
        "X509v3 Extended Key Usage:\n                TLS Web Server Authentication, TLS Web Client Authentication\n",
        &format!("X509v3 Subject Alternative Name:\n                DNS:{identity}\n"),
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

fn no_identity(lab: &Lab, _: &Running) {
    lab.certificates(0, &json!({ "workloads": {} }));
    let none = json!({ "identity": "default.shop.x", "certificates": [] });
    lab.certificates(1, &json!({ "workloads": { "shop/web-2": none } }));
    let output = lab.weft(&["-n", "shop", "identity", "-l", "app=web"], "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("shop/web-1: the proxy of its node n1 does not serve it"), "{text}");
    assert!(text.contains("shop/web-2: the proxy of its node n2 has no valid certificate"), "{text}");
    assert!(text.contains("2 of 2 pods have no certificate"), "{text}");
    let text = refusal(&lab.weft(&["-n", "shop", "identity", "nothing"], ""));
    assert!(text.contains("is it in another namespace (-n)?"), "{text}");
}
