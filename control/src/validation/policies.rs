//! Finds values in policies that make no sense.
//!
//! A policy means the same wherever it is written: in manifests, or in a cluster, where the webhook refuses mistakes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    checks::Check,
    path::{FieldPath, field},
};
use crate::{
    model::{
        AuthorizationPolicy, MeshTLSAuthentication, Network, NetworkAuthentication, ObjectRef, Server,
        ServerAuthorization,
    },
    settings::{IdentityMatch, Policy, Protocol, parse_network},
};

const POLICY_GROUP: &str = "policy.linkerd.io";

pub(super) fn server(check: &mut Check, server: &Server) {
    if let Some(port) = &server.spec.port {
        check.port_or_name(field!("spec", "port"), port);
    }
    if let Some(policy) = &server.spec.access_policy
        && policy.parse::<Policy>().is_err()
    {
        let advice = format!("write one of {}", Policy::names());
        check.add(field!("spec", "accessPolicy"), format!("{policy:?} is not a policy"), advice);
    }
    if let Some(protocol) = &server.spec.proxy_protocol
        && protocol.parse::<Protocol>().is_err()
    {
        let advice = format!("write one of {}", Protocol::names());
        check.add(field!("spec", "proxyProtocol"), format!("{protocol:?} is not a protocol"), advice);
    }
    if let Some(rules) = &server.spec.pod_selector {
        selector(check, &field!("spec", "podSelector"), rules);
    }
}

pub(super) fn server_authorization(check: &mut Check, authorization: &ServerAuthorization) {
    let spec = &authorization.spec;
    if let Some(name) = &spec.server.name {
        check.subdomain(field!("spec", "server", "name"), name);
        if spec.server.selector.is_some() {
            let advice = "write either the name of one Server or a selector of several";
            check.add(field!("spec", "server", "selector"), "stands beside spec.server.name", advice);
        }
    }
    if let Some(rules) = &spec.server.selector {
        selector(check, &field!("spec", "server", "selector"), rules);
    }
    for (index, network) in spec.client.networks.iter().flatten().enumerate() {
        self::network(check, &field!("spec", "client", "networks", index), network);
    }
    let Some(mesh_tls) = &spec.client.mesh_tls else { return };
    let field = field!("spec", "client", "meshTLS");
    if spec.client.unauthenticated {
        let advice = "leave out either spec.client.unauthenticated or spec.client.meshTLS";
        check.add(field.clone(), "stands beside `unauthenticated: true`", advice);
    }
    let has_names = mesh_tls.identities.is_some() || mesh_tls.service_accounts.is_some();
    if mesh_tls.unauthenticated_tls && has_names {
        let advice = "leave out either unauthenticatedTLS or the identities and service accounts";
        check.add(field.clone(), "names identities beside `unauthenticatedTLS: true`", advice);
    }
    for (index, name) in mesh_tls.identities.iter().flatten().enumerate() {
        identity(check, field!("spec", "client", "meshTLS", "identities", index), name);
    }
    for (index, account) in mesh_tls.service_accounts.iter().flatten().enumerate() {
        let field = |name: &str| field!("spec", "client", "meshTLS", "serviceAccounts", index, name);
        check.subdomain(field("name"), &account.name);
        if let Some(namespace) = &account.namespace {
            check.label(field("namespace"), namespace);
        }
    }
}

pub(super) fn authorization_policy(check: &mut Check, policy: &AuthorizationPolicy) {
    let own_namespace = policy.metadata.namespace.as_deref().unwrap_or("default");
    let target = &policy.spec.target_ref;
    // Overlays are partial: what is absent is not wrong here.
    if !target.kind.is_empty() {
        let is_namespace = target.is("", "Namespace");
        if !is_namespace && !target.is(POLICY_GROUP, "Server") {
            let reason = format!("weft has no policies for targets of {}", kind_of(target));
            let advice = "write kind: Namespace, or group: policy.linkerd.io and kind: Server";
            check.add(field!("spec", "targetRef", "kind"), reason, advice);
        }
        if is_namespace && target.name != own_namespace {
            let reason = format!("{:?} is another namespace than the policy's own", target.name);
            check.add(field!("spec", "targetRef", "name"), reason, format!("write {own_namespace}"));
        }
        other_namespace(check, field!("spec", "targetRef", "namespace"), target, own_namespace);
    }
    let refs = policy.spec.required_authentication_refs.as_deref().unwrap_or_default();
    let is_mesh_tls = |reference: &ObjectRef| reference.is(POLICY_GROUP, "MeshTLSAuthentication");
    let is_account = |reference: &ObjectRef| reference.is("", "ServiceAccount");
    let is_network = |reference: &ObjectRef| reference.is(POLICY_GROUP, "NetworkAuthentication");
    let identities = refs.iter().filter(|reference| is_mesh_tls(reference) || is_account(reference)).count();
    let networks = refs.iter().filter(|reference| is_network(reference)).count();
    let list = || field!("spec", "requiredAuthenticationRefs");
    if identities > 1 {
        let advice = "write one MeshTLSAuthentication that names all identities: every reference must hold";
        check.add(list(), "has more than one MeshTLSAuthentication or ServiceAccount", advice);
    }
    if networks > 1 {
        let advice = "write one NetworkAuthentication with all networks: every reference must hold";
        check.add(list(), "has more than one NetworkAuthentication", advice);
    }
    for (index, reference) in refs.iter().enumerate() {
        if !is_mesh_tls(reference) && !is_account(reference) && !is_network(reference) {
            let reason = format!("{} is not an authentication", kind_of(reference));
            let advice = "write a MeshTLSAuthentication or NetworkAuthentication of policy.linkerd.io, or a ServiceAccount";
            check.add(field!("spec", "requiredAuthenticationRefs", index, "kind"), reason, advice);
        }
        check.subdomain(field!("spec", "requiredAuthenticationRefs", index, "name"), &reference.name);
    }
}

pub(super) fn mesh_tls_authentication(check: &mut Check, authentication: &MeshTLSAuthentication) {
    let spec = &authentication.spec;
    for (index, name) in spec.identities.iter().flatten().enumerate() {
        identity(check, field!("spec", "identities", index), name);
    }
    for (index, reference) in spec.identity_refs.iter().flatten().enumerate() {
        let is_namespace = reference.is("", "Namespace");
        if !is_namespace && !reference.is("", "ServiceAccount") {
            let reason = format!("{} has no identity", kind_of(reference));
            let advice = "write kind: ServiceAccount or kind: Namespace";
            check.add(field!("spec", "identityRefs", index, "kind"), reason, advice);
        }
        if is_namespace && reference.namespace.is_some() {
            let advice = "leave it out: a Namespace is in no namespace";
            check.add(
                field!("spec", "identityRefs", index, "namespace"),
                "stands beside kind: Namespace",
                advice,
            );
        }
        check.subdomain(field!("spec", "identityRefs", index, "name"), &reference.name);
    }
    let is_empty = |list: Option<usize>| list == Some(0);
    let (names, refs) = (spec.identities.as_ref().map(Vec::len), spec.identity_refs.as_ref().map(Vec::len));
    if (is_empty(names) && refs.is_none_or(|count| count == 0)) || (is_empty(refs) && names.is_none()) {
        check.add(field!("spec"), "names nobody", "write at least one identity or identityRef");
    }
}

pub(super) fn network_authentication(check: &mut Check, authentication: &NetworkAuthentication) {
    for (index, network) in authentication.spec.networks.iter().enumerate() {
        self::network(check, &field!("spec", "networks", index), network);
    }
}

fn network(check: &mut Check, field: &FieldPath, network: &Network) {
    let advice = "write a CIDR or an address, as in 10.0.0.0/8 or fd00::5";
    let whole = parse_network(&network.cidr);
    if whole.is_none() {
        let reason = format!("{:?} is not a network", network.cidr);
        check.add(field!("cidr").under(field), reason, advice);
    }
    for (index, except) in network.except.iter().flatten().enumerate() {
        let field = || field!("except", index).under(field);
        match (parse_network(except), whole) {
            (None, _) => check.add(field(), format!("{except:?} is not a network"), advice),
            (Some(part), Some(whole)) if part == whole => {
                check.add(
                    field(),
                    format!("{except} is the whole network"),
                    "remove the network, or except less",
                );
            }
            (Some(part), Some(whole)) if !whole.contains(&part) => {
                check.add(
                    field(),
                    format!("{except} is not a part of {whole}"),
                    "except only parts of the network",
                );
            }
            _ => {}
        }
    }
}

fn identity(check: &mut Check, field: FieldPath, text: &str) {
    if IdentityMatch::parse(text).is_none() {
        let advice = "write an identity as in web.demo.serviceaccount.identity.weft.cluster.local, `*`, or `*.` and \
                      the end of identities";
        check.add(field, format!("{text:?} is not an identity"), advice);
    }
}

fn other_namespace(check: &mut Check, field: FieldPath, reference: &ObjectRef, own: &str) {
    if reference.namespace.as_deref().is_some_and(|namespace| namespace != own) {
        check.add(
            field,
            "is another namespace than the policy's own",
            format!("leave it out, or write {own}"),
        );
    }
}

fn kind_of(reference: &ObjectRef) -> String {
    match reference.group.as_deref().unwrap_or_default() {
        "" => reference.kind.clone(),
        group => format!("{group} {}", reference.kind),
    }
}

fn selector(check: &mut Check, field: &FieldPath, selector: &LabelSelector) {
    for (index, rule) in selector.match_expressions.iter().flatten().enumerate() {
        if !["In", "NotIn", "Exists", "DoesNotExist"].contains(&rule.operator.as_str()) {
            let field = field!("matchExpressions", index, "operator").under(field);
            let reason = format!("{:?} is not an operator", rule.operator);
            check.add(field, reason, "write In, NotIn, Exists or DoesNotExist");
        }
    }
}
