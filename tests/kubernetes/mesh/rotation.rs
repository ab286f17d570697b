//! A new trust anchor and a new issuer, as docs/install.md describes it, while clients send requests.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, Namespace};

use super::{
    load::Load,
    manifests::{deploy, meshed},
};
use crate::{
    certificates::Authority,
    installed::{NAMESPACE, with_weft},
};

const ANCHORS: &str = "weft-identity-trust-roots";
/// The kubelet renews mounted files within about a minute and a half.
const WAIT: &str = "300s";

pub(super) fn roots_rotate_under_load() -> Result<()> {
    with_weft(|cluster| {
        // What other tests have changed does not count as a restart.
        upgrade(cluster, &[])?;
        cluster.rolled_out(NAMESPACE, "daemonset/weft-proxy")?;
        let namespace = meshed(cluster, "mesh-rotation")?;
        deploy(&namespace)?;
        let load = Load::start(cluster, &namespace, "web")?;
        let new = Authority::new()?;
        let bundle = r"jsonpath={.data.ca-bundle\.crt}";
        let old = cluster.kubectl(&["-n", NAMESPACE, "get", "cm", ANCHORS, "-o", bundle])?;
        let lives = lives(cluster)?;

        upgrade(cluster, &[("--identity-trust-anchors-file", &format!("{}\n{}", old.trim(), new.anchor))])?;
        next_step_is_safe(cluster, &namespace, "data plane proxies have the current trust anchors")?;
        load.goes_on()?;
        let begun = Instant::now();
        upgrade(
            cluster,
            &[("--identity-issuer-certificate-file", &new.issuer), ("--identity-issuer-key-file", &new.key)],
        )?;
        next_step_is_safe(cluster, &namespace, "data plane certificates are of the current issuer")?;
        let replaced = begun.elapsed();
        load.goes_on()?;
        upgrade(cluster, &[("--identity-trust-anchors-file", &new.anchor)])?;
        next_step_is_safe(cluster, &namespace, "data plane proxies have the current trust anchors")?;
        // The pods let in only identities, and the clients are on both nodes: they have certificates of the new root.
        load.goes_on()?;
        load.goes_on()?;
        load.lost_nothing()?;
        let now = self::lives(cluster)?;
        // A replica that an earlier test has removed may still have been ending.
        let unchanged = now.lines().all(|life| lives.lines().any(|before| before == life));
        ensure!(unchanged, "pods of weft were restarted: {lives}, then {now}");
        println!("all certificates were replaced {:.0} s after the issuer", replaced.as_secs_f64());
        Ok(())
    })
}

/// What docs/install.md says between the steps: a check waits until the next one is safe.
fn next_step_is_safe(cluster: &Cluster, namespace: &Namespace<'_>, check: &str) -> Result<()> {
    touch(cluster)?;
    let report = cluster.weft(&["-n", namespace.name(), "check", "--proxy", "--wait", WAIT])?;
    ensure!(report.contains(&format!("√ {check}\n")), "{report}");
    Ok(())
}

/// weft's pods and the restarts of their containers.
fn lives(cluster: &Cluster) -> Result<String> {
    let path =
        r#"jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}"#;
    let selector = "linkerd.io/control-plane-component";
    cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", selector, "-o", path])
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

/// A change of a pod has the kubelet look at its volumes at once, and not only within a minute and a half.
fn touch(cluster: &Cluster) -> Result<()> {
    let now = format!("example.com/touched={}", time::OffsetDateTime::now_utc().unix_timestamp_nanos());
    let selector = "linkerd.io/control-plane-component";
    let annotate = ["annotate", "pods", "--overwrite", "-l", selector, &now];
    cluster.kubectl(&[&["-n", NAMESPACE], &annotate[..]].concat()).map(drop)
}
