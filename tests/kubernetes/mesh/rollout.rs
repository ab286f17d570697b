//! A rollout of a Deployment while clients send requests to it.

use std::time::Duration;

use anyhow::{Result, ensure};
use weft_tests::kubernetes::wait;

use super::{
    load::Load,
    manifests::{deploy, meshed},
};
use crate::installed::with_weft;

/// Pods of the old version end within their grace period.
const REPLACED: Duration = Duration::from_secs(180);

pub(super) fn a_rollout_of_a_deployment_loses_no_request() -> Result<()> {
    with_weft(|cluster| {
        let namespace = meshed(cluster, "mesh-rollout")?;
        deploy(&namespace)?;
        let load = Load::start(cluster, &namespace, "web")?;
        let pods = || namespace.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]);
        let before = pods()?;
        for _ in 0..2 {
            namespace.kubectl(&["rollout", "restart", "deployment/web"])?;
            namespace.rolled_out("deployment/web")?;
            load.goes_on()?;
        }
        wait::until_ok_for(REPLACED, "the old pods have ended", || {
            let now = pods()?;
            let replaced = now.lines().count() == 2 && now.lines().all(|pod| !before.contains(pod));
            ensure!(replaced, "before: {before:?}, now: {now:?}");
            Ok(())
        })?;
        load.goes_on()?;
        load.lost_nothing()
    })
}
