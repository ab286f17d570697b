//! Whether the versions fit together.

use anyhow::{Result, bail};

use crate::{
    check::{
        cluster::Cluster,
        model::{Category, Check},
    },
    kubernetes::VERSION_LABEL,
    version::CLIENT,
};

pub(super) fn category() -> Category {
    Category {
        name: "control-plane-version",
        checks: vec![
            Check::fatal("can retrieve the control plane version", "weft-version-control", |c| {
                Box::pin(async { control(c).await.map(|_| ()) })
            }),
            Check::warning("cli is up-to-date", "weft-version-cli", |c| Box::pin(cli(c))),
            Check::warning("control plane and cli versions match", "weft-version-control", |c| {
                Box::pin(matching(c))
            }),
        ],
    }
}

async fn control(cluster: &Cluster) -> Result<String> {
    let config = cluster.config().await?;
    match config.metadata.labels.unwrap_or_default().remove(VERSION_LABEL) {
        Some(version) => Ok(version),
        None => bail!("the ConfigMap \"weft-config\" has no label {VERSION_LABEL}"),
    }
}

/// The tool asks no server on the internet: it compares itself with --expected-version.
async fn cli(cluster: &Cluster) -> Result<()> {
    if CLIENT != cluster.expected_version() {
        bail!("is running version {CLIENT} but the expected version is {}", cluster.expected_version());
    }
    Ok(())
}

async fn matching(cluster: &Cluster) -> Result<()> {
    let control = control(cluster).await?;
    if control != cluster.expected_version() {
        bail!(
            "control plane running {control} but {} expected; run `weft upgrade | kubectl apply -f -`",
            cluster.expected_version()
        );
    }
    Ok(())
}
