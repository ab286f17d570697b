//! What does the proxy of a node keep in memory for pods that do nothing?

use std::path::Path;

use anyhow::Result;

use super::{
    figures::Measurement,
    ground::{pod, proxy, start, until_served},
    usage::Usage,
};

/// Enrols `pods` on one node of a cluster of its own; before is the proxy of the other node, which has none.
pub fn measure(binaries: &Path, pods: usize) -> Result<Measurement> {
    let all = (0..pods).map(|number| pod(&format!("idle-{number}"), "a", "")).collect();
    let cluster = start("bench-idle", binaries, vec![("idle.yaml".to_owned(), all)])?;
    until_served(&cluster, &[pods, 0])?;
    let resident = |node| anyhow::Ok(Usage::of(&[cluster.pid(&proxy(node))?])?.resident);
    let measurement =
        Measurement { resident_before: resident("b")?, resident: resident("a")?, ..Measurement::default() };
    cluster.stop()?;
    Ok(measurement)
}
