//! The steps of docs/migrating-from-linkerd.md. Linkerd itself is not there, but what weft takes from it is.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weft_tests::kubernetes::{Cluster, NODES, wait};

use super::{
    documents::{MIGRATING, blocks, section},
    passes,
    shell::Shell,
};
use crate::{certificates::Authority, installed::without_weft};

const MOVING: &str = "## Moving one namespace at a time";
const LABEL: &str = "kubectl label namespace shop config.linkerd.io/admission-webhooks=disabled";
const BACK: &str = "kubectl annotate namespace shop linkerd.io/inject-";

/// A workload whose pods have no sidecar any more. The annotation of its namespace is Linkerd's.
const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: disabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "localhost/weft-toolbox:1", command: [sleep, "100000"]}]
"#;

pub(super) fn beside_linkerd() -> Result<()> {
    without_weft(|cluster| {
        cluster.load_weft()?;
        cluster.load_toolbox()?;
        let result = migrate(cluster);
        let removed = cluster.kubectl(&[
            "delete",
            "namespace",
            "shop",
            "linkerd",
            "--ignore-not-found",
            "--wait=false",
        ]);
        result.and(removed.map(drop))
    })
}

fn migrate(cluster: &Cluster) -> Result<()> {
    let authority = Authority::new()?;
    linkerd(cluster, &authority)?;
    cluster.apply(SHOP)?;
    let shell = Shell::of(cluster)?;
    let blocks = blocks(MIGRATING, MOVING)?;
    let [install, restart, mesh] = blocks[..] else { anyhow::bail!("{} blocks", blocks.len()) };
    let folder = tempfile::tempdir()?;
    let said = shell.run(&format!("set -e; cd {}\n{install}", folder.path().display()))?;
    passes(&said)?;
    ensure!(issuer(cluster, "weft")? == issuer(cluster, "linkerd")?, "the issuers differ");

    // The first line is Linkerd's own tool.
    let (uninject, rest) = restart.trim().split_once('\n').context("the restart has two lines")?;
    ensure!(uninject.contains("linkerd uninject"), "{uninject}");
    shell.run(rest)?;
    ensure!(section(MIGRATING, MOVING)?.contains(&format!("`{LABEL}`")), "the document has no {LABEL}");
    shell.run(LABEL)?;
    shell.run(mesh)?;
    passes(&shell.run("weft -n shop check --proxy")?)?;
    is_meshed(cluster, true)?;
    ensure!(MIGRATING.contains(&format!("`{BACK}`")), "the document has no {BACK}");
    shell.run(BACK)?;
    is_meshed(cluster, false)
}

/// What Linkerd has in its own namespace, and the policy kinds: both meshes have the same ones.
fn linkerd(cluster: &Cluster, authority: &Authority) -> Result<()> {
    let kinds = cluster.weft(&["install", "--crds"])?;
    let label = "app.kubernetes.io/part-of: ";
    cluster.apply(&kinds.replace(&format!("{label}weft"), &format!("{label}Linkerd")))?;
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "linkerd"}},
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "linkerd-identity-trust-roots", "namespace": "linkerd"},
            "data": {"ca-bundle.crt": authority.anchor},
        },
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "linkerd-identity-issuer", "namespace": "linkerd"},
            "stringData": {"crt.pem": authority.issuer, "key.pem": authority.key},
        },
    ]});
    cluster.apply(&objects.to_string()).map(drop)
}

/// The certificate of a mesh's issuer.
fn issuer(cluster: &Cluster, mesh: &str) -> Result<String> {
    let secret = format!("secret/{mesh}-identity-issuer");
    let path = r#"go-template={{index .data "crt.pem" | base64decode}}"#;
    Ok(cluster.kubectl(&["-n", mesh, "get", &secret, "-o", path])?.trim().to_owned())
}

/// Waits until a proxy says that it serves the pod, or until none does.
fn is_meshed(cluster: &Cluster, meshed: bool) -> Result<()> {
    wait::until_ok("the namespace joins or leaves the mesh", || {
        let pages: Result<Vec<String>> = NODES
            .iter()
            .map(|node| cluster.inside(node, &["curl", "-sS", "http://127.0.0.1:4191/config"]))
            .collect();
        let is_served = pages?.iter().any(|page| page.contains("shop/web-"));
        ensure!(is_served == meshed, "served: {is_served}");
        Ok(())
    })
}
