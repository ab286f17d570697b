//! Prepares the programs and images that a cluster of this machine needs, once, outside the checkout.
//!
//! They are in `~/.cache/weft/kubernetes/VERSION-HASH`, with a folder `bin` and a folder `images`. A build that was
//! interrupted continues.

mod cache;
mod go;
mod images;
mod programs;
mod prometheus;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{debian, steps::Steps};

/// The cluster that commands mean unless told otherwise.
pub(crate) const DEFAULT_NAME: &str = "dev";
/// Where weft-cluster keeps its clusters.
const STATE: &str = "/var/lib/weft-kubernetes";

/// The folder of the programs and images, which are built where they are missing.
pub(crate) fn prepare(steps: &mut Steps) -> Result<PathBuf> {
    steps.step("Debian packages", "what containerd and the nodes' networks need", || {
        debian::ensure(&debian::RUN)?;
        debian::ensure(&debian::KUBERNETES)
    })?;
    let folder = folder()?;
    steps.step(
        "Kubernetes",
        "its programs, built once per machine: about 12 minutes on two cores",
        || {
            let _lock = cache::lock(&folder)?;
            programs::ensure(&folder)?;
            prometheus::ensure(&folder)?;
            cache::forget_others(&folder)
        },
    )?;
    steps.step("images", "those that each cluster needs", || {
        let _lock = cache::lock(&folder)?;
        images::ensure(&folder)
    })?;
    Ok(folder)
}

/// A program of the prepared folder.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(folder()?.join("bin").join(name))
}

/// The kubeconfig of a cluster, which exists while the cluster runs.
pub(crate) fn kubeconfig(name: &str) -> PathBuf {
    Path::new(STATE).join(name).join("kubeconfig")
}

/// Its name says what is in it: a change of a version, a flag or a source makes a new one.
fn folder() -> Result<PathBuf> {
    let hash = cache::fingerprint(&programs::describe(), &programs::SOURCES)?;
    Ok(cache::base()?.join(format!("{}-{hash}", programs::KUBERNETES)))
}
