//! Checks which clients authorizations admit.

use crate::{
    index::{Clients, Cluster, Networks},
    model::Name,
    settings::{IdentityMatch, Policy},
    testing::{cluster, mesh},
};

const POD: &str = "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, labels: {app: a}}}
---
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: s, namespace: demo, labels: {tier: x}},
 spec: {podSelector: {matchLabels: {app: a}}, port: 80}}
";

fn object(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: policy.linkerd.io/{version}, kind: {kind}, metadata: {{name: {name}, namespace: demo}}, \
         spec: {{{spec}}}}}\n"
    )
}

fn server_authorization(spec: &str) -> String {
    object("v1beta1", "ServerAuthorization", "p", spec)
}

fn policy(refs: &str) -> String {
    let target = "targetRef: {group: policy.linkerd.io, kind: Server, name: s}";
    object("v1alpha1", "AuthorizationPolicy", "p", &format!("{target}, requiredAuthenticationRefs: [{refs}]"))
}

fn of_port(cluster: &Cluster) -> Vec<String> {
    let pod = cluster.pod(&Name { namespace: "demo".into(), name: "a".into() }).unwrap();
    let [port] = &pod.config.port_policies[..] else { panic!("{:?}", pod.config.port_policies) };
    assert_eq!((port.port, port.policy), (80, Policy::Deny));
    let line = |found: &crate::index::Authorization| {
        let clients = match &found.clients {
            Clients::Unauthenticated => "anybody".to_owned(),
            Clients::Authenticated => "mesh".into(),
            Clients::Identities(identities) => {
                let text = |identity: &crate::index::ClientIdentity| match identity.resolve(&mesh()) {
                    IdentityMatch::Exact(name) => name,
                    IdentityMatch::Suffix(suffix) => format!("*{suffix}"),
                };
                identities.iter().map(text).collect::<Vec<_>>().join(",")
            }
        };
        let networks = match &found.networks {
            Networks::All => "all".to_owned(),
            Networks::Cluster => "cluster".into(),
            Networks::Listed(networks) => {
                networks.iter().map(|network| network.cidr.to_string()).collect::<Vec<_>>().join(",")
            }
        };
        format!("{clients} from {networks}").replace(".serviceaccount.identity.linkerd.cluster.local", "!")
    };
    port.authorizations.iter().map(line).collect()
}

fn admitted(objects: &str) -> Vec<String> {
    of_port(&cluster(&format!("{POD}{objects}")))
}

#[test]
fn server_authorizations_name_servers_and_clients() {
    let mesh_tls = |clients: &str| {
        server_authorization(&format!("server: {{name: s}}, client: {{meshTLS: {{{clients}}}}}"))
    };
    for (text, expected) in [
        (
            server_authorization("server: {name: s}, client: {unauthenticated: true}"),
            vec!["anybody from cluster"],
        ),
        (
            server_authorization(
                "server: {selector: {matchLabels: {tier: x}}}, client: {unauthenticated: true, networks: [{cidr: 10.0.0.1}]}",
            ),
            vec!["anybody from 10.0.0.1/32"],
        ),
        (
            server_authorization(
                "server: {selector: {matchLabels: {tier: y}}}, client: {unauthenticated: true}",
            ),
            vec![],
        ),
        (server_authorization("server: {name: other}, client: {unauthenticated: true}"), vec![]),
        (server_authorization("server: {name: s}"), vec![]),
        (mesh_tls(""), vec![]),
        (mesh_tls("unauthenticatedTLS: true"), vec!["mesh from cluster"]),
        (mesh_tls("identities: [\"*\"]"), vec!["mesh from cluster"]),
        (
            mesh_tls("identities: [\"*.x\", a.b], serviceAccounts: [{name: c}, {name: d, namespace: e}]"),
            vec!["*.x,a.b,c.demo!,d.e! from cluster"],
        ),
    ] {
        assert_eq!(admitted(&text), expected, "{text}");
    }
}

#[test]
fn all_authentications_of_a_policy_must_hold() {
    let tls = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: tls}";
    let net = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: net}";
    let authentications =
        object(
            "v1alpha1",
            "MeshTLSAuthentication",
            "tls",
            "identityRefs: [{kind: ServiceAccount, name: c}, {kind: Namespace, name: other}]",
        ) + &object("v1alpha1", "NetworkAuthentication", "net", "networks: [{cidr: 10.1.0.0/16}]");
    for (refs, expected) in [
        (String::new(), vec!["anybody from all"]),
        (tls.into(), vec!["c.demo!,*.other! from all"]),
        (net.into(), vec!["anybody from 10.1.0.0/16"]),
        (format!("{tls}, {net}"), vec!["c.demo!,*.other! from 10.1.0.0/16"]),
        ("{kind: ServiceAccount, name: x, namespace: y}".into(), vec!["x.y! from all"]),
    ] {
        assert_eq!(admitted(&(policy(&refs) + &authentications)), expected, "{refs}");
    }
}

#[test]
fn a_policy_that_refers_to_something_missing_admits_nobody() {
    let tls = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: tls}";
    let net = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: net}";
    let tls_exists = object("v1alpha1", "MeshTLSAuthentication", "tls", "identities: [a.b]");
    assert_eq!(admitted(&policy(tls)), [] as [String; 0]);
    assert_eq!(admitted(&(policy(&format!("{tls}, {net}")) + &tls_exists)), [] as [String; 0]);
    let elsewhere = tls.replace("name: tls", "name: tls, namespace: other");
    assert_eq!(admitted(&(policy(&elsewhere) + &tls_exists)), [] as [String; 0]);
    assert_eq!(admitted(&(policy(tls) + &tls_exists)), ["a.b from all"]);
}

#[test]
fn a_policy_for_a_namespace_counts_for_all_its_servers() {
    let text = object(
        "v1alpha1",
        "AuthorizationPolicy",
        "p",
        "targetRef: {kind: Namespace, name: demo}, requiredAuthenticationRefs: []",
    );
    assert_eq!(admitted(&text), ["anybody from all"]);
    assert_eq!(admitted(&text.replace("requiredAuthenticationRefs: []", "")), [] as [String; 0]);
}
