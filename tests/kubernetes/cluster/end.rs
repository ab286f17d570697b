//! The end of a cluster: what it has made is gone.

use anyhow::Result;
use weft_tests::kubernetes::Cluster;

use super::census::Census;

/// A cluster of its own, beside the other tests'.
const NAME: &str = "census";

pub(super) fn down_leaves_nothing() -> Result<()> {
    let mut census = Census::before(NAME, &[]);
    let cluster = Cluster::start(NAME)?;
    let counted = census.while_it_runs();
    cluster.stop()?;
    counted?;
    census.nothing_is_left()
}
