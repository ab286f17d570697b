//! The control plane's gRPC services, asked with tokens that must not give access.

use std::{fs, future::Future, path::Path};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::Value;
use tonic::{Code, Request, Status, transport::Channel};
use weft_api::{
    linkerd::identity::{CertifyRequest, identity_client::IdentityClient},
    node::{WatchRequest, node_client::NodeClient},
    secure,
};
use weft_tests::kubernetes::{Cluster, NODES, Namespace};
use weft_vm::KubectlForward;

use super::manifests::{clients, meshed};
use crate::installed::{self, NAMESPACE, with_weft};

const AUDIENCE: &str = "identity.l5d.io";
const CONTROL: &str = "weft-control.weft.serviceaccount.identity.weft.cluster.local";
/// A pod with a service account that only the second node has.
const FOREIGN: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: foreign}
---
apiVersion: v1
kind: Pod
metadata: {name: foreign}
spec:
  serviceAccountName: foreign
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "localhost/weft-toolbox:1", command: [sleep, "100000"]}]
"#;

pub(super) fn tokens_give_nothing_to_others() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-tokens")?;
        clients(&namespace)?;
        namespace.apply(&FOREIGN.replace("{node}", NODES[1]))?;
        namespace.pod_ready("foreign")?;
        let control = ControlPlane::find(cluster)?;
        let (own, other) = (proxy_token(cluster, NODES[0])?, proxy_token(cluster, NODES[1])?);
        let [default, foreign] = ["default", "foreign"].map(|account| identity(&namespace, account));

        // What follows is refused because of what it is, not because the test asks wrongly.
        control.watch(&own, NODES[0]).context("a proxy's own token")?;
        control.certify(&own, &default).context("an identity of the node")?;

        watching_is_refused(&control, cluster, &namespace, &own, &other)?;
        certificates_are_refused(&control, &namespace, &own, [&default, &foreign])
    })
}

fn watching_is_refused(
    control: &ControlPlane,
    cluster: &Cluster,
    namespace: &Namespace<'_>,
    own: &str,
    other: &str,
) -> Result<()> {
    let key = signing_key(cluster)?;
    let foreign_key = KeyPair::generate()?.serialize_pem();
    let workload = namespace.kubectl(&["create", "token", "default", "--audience", AUDIENCE])?;
    let unbound =
        cluster.kubectl(&["-n", NAMESPACE, "create", "token", "weft-proxy", "--audience", AUDIENCE])?;
    let for_others = cluster.kubectl(&["-n", NAMESPACE, "create", "token", "weft-proxy"])?;
    // Signed anew without a change, it is as good as before.
    control.watch(&signed(own, &key, |_| {})?, NODES[0]).context("a token that the test has signed")?;
    let expired = signed(own, &key, |claims| {
        for claim in ["exp", "iat", "nbf"] {
            claims[claim] = (claims[claim].as_i64().unwrap_or_default() - 100_000).into();
        }
    })?;
    let of_a_pod_that_is_gone = signed(own, &key, |claims| {
        claims["kubernetes.io"]["pod"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    })?;
    let cases: [(&str, &str, Code, &str); 8] = [
        ("another node's proxy", other, Code::PermissionDenied, "gives no access to node"),
        ("a workload", &workload, Code::PermissionDenied, "only node proxies"),
        ("no pod", &unbound, Code::PermissionDenied, "not bound to a pod"),
        ("another audience", &for_others, Code::Unauthenticated, "another audience"),
        ("another key", &signed(own, &foreign_key, |_| {})?, Code::Unauthenticated, "not valid"),
        ("an earlier time", &expired, Code::Unauthenticated, "expired"),
        ("a pod that is gone", &of_a_pod_that_is_gone, Code::Unauthenticated, "not valid"),
        ("nobody", "token", Code::Unauthenticated, "no service account token"),
    ];
    for (of, token, code, text) in cases {
        refused(
            &format!("watching with a token of {of}"),
            control.watch(token.trim(), NODES[0]),
            code,
            text,
        )?;
    }
    Ok(())
}

fn certificates_are_refused(
    control: &ControlPlane,
    namespace: &Namespace<'_>,
    own: &str,
    [default, foreign]: [&str; 2],
) -> Result<()> {
    let workload = namespace.kubectl(&["create", "token", "default", "--audience", AUDIENCE])?;
    let workload = workload.trim();
    control.certify(workload, default).context("a workload's own identity")?;
    let cases: [(&str, &str, &str, &str); 4] = [
        ("a service account of another node", own, foreign, "has no meshed pod"),
        ("the control plane", own, CONTROL, "issues it to itself only"),
        ("another service account", workload, foreign, "may not have the identity"),
        ("the control plane, to a workload", workload, CONTROL, "issues it to itself only"),
    ];
    for (of, token, identity, text) in cases {
        let result = control.certify(token, identity);
        refused(&format!("a certificate of {of}"), result, Code::PermissionDenied, text)?;
    }
    refused(
        "a certificate for a forged token",
        control.certify("a.b.c", default),
        Code::Unauthenticated,
        "token",
    )
}

fn refused(what: &str, result: Result<()>, code: Code, text: &str) -> Result<()> {
    let Err(error) = result else { anyhow::bail!("{what} is not refused") };
    let status = error.downcast_ref::<Status>().with_context(|| format!("{what}: {error:#}"))?;
    ensure!(status.code() == code && status.message().contains(text), "{what}: {status}");
    Ok(())
}

fn identity(namespace: &Namespace<'_>, account: &str) -> String {
    format!("{account}.{}.serviceaccount.identity.weft.cluster.local", namespace.name())
}

/// A token as the proxy of a node has it.
fn proxy_token(cluster: &Cluster, node: &str) -> Result<String> {
    let pod = installed::proxy_on(cluster, node)?;
    let uid = cluster.kubectl(&["-n", NAMESPACE, "get", "pod", &pod, "-o", "jsonpath={.metadata.uid}"])?;
    let token = cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "create",
        "token",
        "weft-proxy",
        "--audience",
        AUDIENCE,
        "--bound-object-kind",
        "Pod",
        "--bound-object-name",
        &pod,
        "--bound-object-uid",
        &uid,
    ])?;
    Ok(token.trim().to_owned())
}

/// The key with which the API server signs tokens.
fn signing_key(cluster: &Cluster) -> Result<String> {
    let kubeconfig = cluster.kubeconfig();
    let key = kubeconfig.parent().unwrap_or(Path::new("/")).join("pki/service-accounts.key");
    fs::read_to_string(&key).with_context(|| key.display().to_string())
}

/// The token with changed claims, signed by this key.
fn signed(token: &str, key: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut parts = token.split('.');
    let (header, claims) = parts.next().zip(parts.next()).context("no token")?;
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    change(&mut claims);
    let text = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes())?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der())
        .map_err(|error| anyhow::anyhow!("the key: {error}"))?;
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).context("the signature")?;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref())))
}

/// weft-control, as a program outside of the cluster reaches it.
struct ControlPlane {
    forward: KubectlForward,
    anchors: String,
    runtime: tokio::runtime::Runtime,
}

impl ControlPlane {
    fn find(cluster: &Cluster) -> Result<Self> {
        let forward = cluster.forward(NAMESPACE, "deployment/weft-control", 8086)?;
        let path = r"jsonpath={.data.ca-bundle\.crt}";
        let anchors =
            cluster.kubectl(&["-n", NAMESPACE, "get", "configmap/weft-identity-trust-roots", "-o", path])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { forward, anchors, runtime })
    }

    /// Each call on a connection of its own.
    fn call<F: Future<Output = Result<()>>>(&self, call: impl FnOnce(Channel) -> F) -> Result<()> {
        self.runtime.block_on(async {
            call(secure::connect(self.forward.address(), self.anchors.as_bytes(), CONTROL).await?).await
        })
    }

    /// Asks for the workloads of a node, as a proxy does that is about to end.
    fn watch(&self, token: &str, node: &str) -> Result<()> {
        self.call(async |channel| {
            let watch = WatchRequest { node: node.to_owned(), draining: true, ..WatchRequest::default() };
            let mut request = Request::new(watch);
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
            let mut stream = NodeClient::new(channel).watch(request).await?.into_inner();
            stream.message().await?.context("the stream has ended").map(drop)
        })
    }

    fn certify(&self, token: &str, identity: &str) -> Result<()> {
        let mut params = CertificateParams::new(vec![identity.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let request = CertifyRequest {
            identity: identity.to_owned(),
            token: token.as_bytes().to_vec(),
            certificate_signing_request: params.serialize_request(&KeyPair::generate()?)?.der().to_vec(),
        };
        self.call(async |channel| {
            let answer = IdentityClient::new(channel).certify(request).await?.into_inner();
            ensure!(!answer.leaf_certificate.is_empty(), "no certificate");
            Ok(())
        })
    }
}
