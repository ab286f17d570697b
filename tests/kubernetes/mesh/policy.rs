//! Policies that kubectl applies to running pods.

use anyhow::{Result, ensure};
use weft_tests::kubernetes::{NODES, Namespace, wait};

use super::manifests::{clients, meshed, request, server};
use crate::installed::with_weft;

const SERVER: &str = "
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: server}}
  port: 8080
  proxyProtocol: HTTP/1
";

/// Lets in the namespace's own service account.
const AUTHORIZATION: &str = "
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: web}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: web}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: web}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: web}
spec:
  identityRefs: [{kind: ServiceAccount, name: default}]
";

pub(super) fn policies_apply_at_once() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-policy")?;
        server(&namespace, "server", NODES[1], "all-unauthenticated")?;
        clients(&namespace)?;
        answers(&namespace, 200)?;
        namespace.apply(SERVER)?;
        answers(&namespace, 403)?;
        namespace.apply(AUTHORIZATION)?;
        answers(&namespace, 200)?;
        namespace.kubectl(&["delete", "meshtlsauthentication/web"])?;
        answers(&namespace, 403)?;
        namespace.kubectl(&["delete", "server/web", "authorizationpolicy/web"])?;
        answers(&namespace, 200)
    })
}

/// Waits until the clients of both nodes get this status.
fn answers(namespace: &Namespace<'_>, expected: u16) -> Result<()> {
    for client in NODES {
        wait::until_ok("the policy applies", || {
            let (status, _) = request(namespace, client, "http://server/")?;
            ensure!(status == expected, "{client} gets {status}, not {expected}");
            Ok(())
        })?;
    }
    Ok(())
}
