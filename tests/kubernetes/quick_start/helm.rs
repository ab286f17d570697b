//! The same with Helm, and the values for high availability.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::Cluster;

use super::{demo, steps::passes};
use crate::{certificates::Authority, installed::without_weft};

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/charts");

pub(super) fn with_helm() -> Result<()> {
    without_weft(|cluster| {
        cluster.load_weft()?;
        let used = install(cluster).and_then(|()| mesh_the_demo(cluster));
        // Also after a failure: other scenarios use the cluster too.
        let removed = remove(cluster);
        used.and(removed)
    })
}

fn mesh_the_demo(cluster: &Cluster) -> Result<()> {
    passes(&cluster.weft(&["check"])?)?;
    demo::deploy(cluster)?;
    // A whole namespace joins the mesh by its annotation.
    cluster.kubectl(&["annotate", "namespace", demo::NAMESPACE, "linkerd.io/inject=enabled"])?;
    demo::is_meshed(cluster)?;
    passes(&cluster.weft(&["--namespace", demo::NAMESPACE, "check", "--proxy"])?)?;
    demo::remove(cluster)
}

fn remove(cluster: &Cluster) -> Result<()> {
    cluster.helm(&["uninstall", "weft-control-plane", "--namespace", "weft", "--wait"])?;
    cluster.helm(&["uninstall", "weft-crds", "--namespace", "weft", "--wait"])?;
    cluster.kubectl(&["delete", "namespace", "weft"]).map(drop)
}

fn install(cluster: &Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    let authority = Authority::new()?;
    let anchor = write("ca.crt", &authority.anchor)?;
    let (certificate, key) = (write("issuer.crt", &authority.issuer)?, write("issuer.key", &authority.key)?);
    cluster.helm(&[
        "install",
        "weft-crds",
        &format!("{CHARTS}/weft-crds"),
        "--namespace",
        "weft",
        "--create-namespace",
        "--wait",
    ])?;
    let control = format!("{CHARTS}/weft-control-plane");
    let file = |value: &str, path: &PathBuf| format!("{value}={}", path.display());
    cluster.helm(&[
        "install",
        "weft-control-plane",
        &control,
        "--namespace",
        "weft",
        "--values",
        &format!("{control}/values-ha.yaml"),
        // As many as this cluster has nodes.
        "--set",
        "controllerReplicas=2",
        "--set-file",
        &file("identityTrustAnchorsPEM", &anchor),
        "--set-file",
        &file("identity.issuer.tls.crtPEM", &certificate),
        "--set-file",
        &file("identity.issuer.tls.keyPEM", &key),
        "--wait",
        "--timeout",
        "6m",
    ])?;
    // Helm is content with as many as the disruption budget leaves.
    cluster.rolled_out("weft", "deployment/weft-control")?;
    let ready = cluster.kubectl(&[
        "-n",
        "weft",
        "get",
        "deployment/weft-control",
        "-o",
        "jsonpath={.status.readyReplicas}",
    ])?;
    ensure!(ready == "2", "{ready} replicas are ready");
    Ok(())
}
