//! Tests on a real Kubernetes: two nodes on this machine, as `cargo xtask cluster` starts them.
//!
//! The first test that calls [`on_cluster`] starts the cluster, unless it runs already; [`end`] stops one that a test
//! has started. Without Kubernetes' programs the tests are skipped, with the reason.

mod cluster;
mod diagnose;
mod namespace;
mod tools;

use anyhow::{Result, anyhow};

pub use self::{
    cluster::{Cluster, NODES, end, output, programs, weft_cluster, weft_images},
    namespace::Namespace,
    tools::feed,
};

/// Runs a test on the cluster. A failure's text has what Kubernetes says about the pods that are not well, and the
/// ends of the cluster's logs.
pub fn on_cluster(test: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let cluster = Cluster::shared()?;
    test(cluster).map_err(|error| anyhow!("{error:#}\n{}", diagnose::report(cluster)))
}
