//! Whether an installation for high availability is one.

use anyhow::{Result, bail};
use serde_json::json;

use crate::check::{
    cluster::{Cluster, is_ready},
    model::{Category, Check},
};

pub(super) fn category() -> Category {
    Category {
        name: "weft-ha-checks",
        checks: vec![Check::warning(
            "multiple replicas of control plane pods",
            "weft-control-plane-replicas",
            |c| Box::pin(replicas(c)),
        )],
    }
}

async fn replicas(cluster: &Cluster) -> Result<()> {
    if cluster.values().await?["highAvailability"] != json!(true) {
        return Ok(());
    }
    let ready = cluster.control_plane_pods("control").await?.into_iter().filter(|pod| is_ready(pod)).count();
    if ready < 2 {
        bail!("not enough replicas available for the control plane: {ready} of weft-control is ready");
    }
    Ok(())
}
