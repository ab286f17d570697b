//! Tests on a real Kubernetes: two nodes on this machine, as `cargo xtask cluster` starts them.
//!
//! The first test that calls [`on_cluster`] starts the cluster, unless it runs already; [`end`] stops one that a test
//! has started. Without Kubernetes' programs the tests are skipped, with the reason.

mod cluster;
mod diagnose;
mod namespace;
mod tools;
pub mod wait;

use anyhow::{Result, anyhow};

use crate::suite;

pub use self::{
    cluster::{Cluster, NODES, end, output, programs, weft_cluster, weft_images},
    namespace::Namespace,
    tools::feed,
};

/// Runs a test on the cluster. Its namespaces are deleted afterwards; nothing waits for that. A failure's text has what
/// Kubernetes and weft say about them and about weft's own pods, and the ends of the cluster's logs.
pub fn on_cluster(test: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let cluster = Cluster::shared()?;
    let result = test(cluster);
    let namespaces = cluster.take_unused();
    let result = result.map_err(|error| {
        if suite::is_skip(&error) {
            return error;
        }
        anyhow!("{error:#}\n{}", diagnose::report(cluster, &namespaces))
    });
    cluster.delete(&namespaces);
    result
}
