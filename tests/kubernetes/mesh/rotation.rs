//! A new trust anchor and a new issuer, as docs/install.md describes it, while clients send requests.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES},
    metrics::Metrics,
    wait,
};

use super::{
    load::Load,
    manifests::{deploy, meshed},
};
use crate::{
    certificates::Authority,
    installed::{self, NAMESPACE, with_weft},
};

const ANCHORS: &str = "weft-identity-trust-roots";
/// The kubelet renews mounted files within about a minute and a half.
const MOUNTED: Duration = Duration::from_secs(120);
const ISSUER_EXPIRES: &str = "weft_control_issuer_expiration_timestamp_seconds";
const ISSUED: &str = "control_identity_cert_refresh_timestamp_seconds";

pub(super) fn roots_rotate_under_load() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-rotation")?;
        deploy(&namespace)?;
        let load = Load::start(cluster, &namespace, "web")?;
        let new = Authority::new()?;
        let old = cluster.kubectl(&[
            "-n",
            NAMESPACE,
            "get",
            "cm",
            ANCHORS,
            "-o",
            r"jsonpath={.data.ca-bundle\.crt}",
        ])?;

        upgrade(cluster, &[("--identity-trust-anchors-file", &format!("{}\n{}", old.trim(), new.anchor))])?;
        anchors_are_mounted(cluster, 2)?;
        load.goes_on()?;
        let issuer = issuer(cluster)?;
        upgrade(
            cluster,
            &[("--identity-issuer-certificate-file", &new.issuer), ("--identity-issuer-key-file", &new.key)],
        )?;
        touch(cluster)?;
        wait::until_ok_for(MOUNTED, "the control plane has the new issuer", || {
            ensure!(self::issuer(cluster)? != issuer, "it has the old one");
            Ok(())
        })?;
        load.goes_on()?;
        // Instead of waiting until all certificates are renewed: new proxies have new ones.
        let begun = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
        cluster.kubectl(&["-n", NAMESPACE, "rollout", "restart", "daemonset/weft-proxy"])?;
        replaced(cluster)?;
        for node in NODES {
            let times = proxy_metrics(cluster, node)?;
            let count = times.label_values(ISSUED, &[], "identity").len();
            let newer = times.value(ISSUED, &[]);
            ensure!(count > 0 && newer >= begun * count as f64, "{node} has certificates of the old issuer");
        }
        upgrade(cluster, &[("--identity-trust-anchors-file", &new.anchor)])?;
        anchors_are_mounted(cluster, 1)?;
        // Each proxy reads them within a second.
        load.goes_on()?;
        load.goes_on()?;
        // The pods let in only identities, and the clients are on both nodes: they have certificates of the new root.
        load.lost_nothing()
    })
}

/// `weft upgrade` with texts that are given as files.
fn upgrade(cluster: &Cluster, files: &[(&str, &str)]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut arguments = vec!["upgrade".to_owned()];
    for (flag, text) in files {
        let path = folder.path().join(flag.trim_start_matches('-'));
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        arguments.extend([(*flag).to_owned(), path.display().to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.apply(&cluster.weft(&arguments)?).map(drop)
}

/// A change of a pod has the kubelet look at its volumes at once.
fn touch(cluster: &Cluster) -> Result<()> {
    let now = format!("example.com/touched={}", time::OffsetDateTime::now_utc().unix_timestamp_nanos());
    let selector = "linkerd.io/control-plane-component";
    let annotate = ["annotate", "pods", "--overwrite", "-l", selector, &now];
    cluster.kubectl(&[&["-n", NAMESPACE], &annotate[..]].concat()).map(drop)
}

/// Waits until every pod of weft sees this many certificates in the bundle.
fn anchors_are_mounted(cluster: &Cluster, count: usize) -> Result<()> {
    touch(cluster)?;
    let file = "*/volumes/kubernetes.io~configmap/trust-roots/ca-bundle.crt";
    wait::until_ok_for(MOUNTED, "the trust anchors are in every pod of weft", || {
        for node in NODES {
            let script = format!("cd /var/lib/kubelet/pods && grep -c BEGIN {file} /dev/null");
            let counts = cluster.inside(node, &["sh", "-c", &script])?;
            let mut mounts = counts.lines().filter(|line| line.contains("trust-roots")).peekable();
            ensure!(mounts.peek().is_some(), "{node}: no mounted anchors");
            ensure!(mounts.all(|line| line.ends_with(&format!(":{count}"))), "{node}: {counts}");
        }
        Ok(())
    })
}

/// Waits until only new proxies are left.
fn replaced(cluster: &Cluster) -> Result<()> {
    wait::until_ok_for(Duration::from_secs(180), "the old proxies have ended", || {
        cluster.rolled_out(NAMESPACE, "daemonset/weft-proxy")?;
        let selector = "linkerd.io/control-plane-component=proxy";
        let pods = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "name"])?;
        ensure!(pods.lines().count() == NODES.len(), "{pods}");
        Ok(())
    })
}

/// When the issuer that weft-control uses expires.
fn issuer(cluster: &Cluster) -> Result<f64> {
    let selector = "linkerd.io/control-plane-component=control";
    let name = "jsonpath={.items[0].metadata.name}";
    let pod = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", selector, "-o", name])?;
    let page = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9990/proxy/metrics");
    Ok(Metrics::parse(&cluster.kubectl(&["get", "--raw", &page])?)?.value(ISSUER_EXPIRES, &[]))
}

fn proxy_metrics(cluster: &Cluster, node: &str) -> Result<Metrics> {
    let pod = installed::proxy_on(cluster, node)?;
    let page = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:4191/proxy/metrics");
    Metrics::parse(&cluster.kubectl(&["get", "--raw", &page])?)
}
