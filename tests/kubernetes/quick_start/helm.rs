//! The same with Helm, and the values for high availability.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use weft_tests::kubernetes::{Cluster, on_cluster};

use super::{demo, steps::passes};

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/charts");

pub(super) fn with_helm() -> Result<()> {
    on_cluster(|cluster| {
        cluster.load_weft()?;
        install(cluster)?;
        passes(&cluster.weft(&["check"])?)?;
        demo::deploy(cluster)?;
        // A whole namespace joins the mesh by its annotation.
        cluster.kubectl(&["annotate", "namespace", demo::NAMESPACE, "linkerd.io/inject=enabled"])?;
        demo::is_meshed(cluster)?;
        passes(&cluster.weft(&["--namespace", demo::NAMESPACE, "check", "--proxy"])?)?;
        demo::remove(cluster)?;
        cluster.helm(&["uninstall", "weft-control-plane", "--namespace", "weft", "--wait"])?;
        cluster.helm(&["uninstall", "weft-crds", "--namespace", "weft", "--wait"])?;
        cluster.kubectl(&["delete", "namespace", "weft"]).map(drop)
    })
}

fn install(cluster: &Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = folder.path().join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    let (anchor, certificate, key) = certificates()?;
    let (anchor, certificate, key) =
        (write("ca.crt", &anchor)?, write("issuer.crt", &certificate)?, write("issuer.key", &key)?);
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
        "3m",
    ])?;
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

/// A trust anchor, an issuer and the issuer's key, as PEM.
fn certificates() -> Result<(String, String, String)> {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = time::OffsetDateTime::now_utc();
        (params.not_before, params.not_after) =
            (now - time::Duration::minutes(1), now + time::Duration::days(365));
        Ok::<_, rcgen::Error>(params)
    };
    let (anchor_key, issuer_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let anchor_params = authority("root.weft.cluster.local")?;
    let anchor = anchor_params.self_signed(&anchor_key)?;
    let issuer = authority("identity.weft.cluster.local")?
        .signed_by(&issuer_key, &Issuer::new(anchor_params, anchor_key))?;
    Ok((anchor.pem(), issuer.pem(), issuer_key.serialize_pem()))
}
