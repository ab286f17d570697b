//! What the README tells a user of Kubernetes, command by command.

pub(crate) mod demo;
mod helm;
mod steps;

use std::time::Duration;

use weft_tests::suite::Area;

pub(crate) use self::steps::passes;

/// With the start of the cluster.
const LIMIT: Duration = Duration::from_secs(420);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::quick_start")
        .bare(
            "with_the_cli",
            "check, install, the demo, inject, check --proxy: pods join the running mesh without a restart, leave it, and \
             outlive the uninstallation.",
            steps::with_the_cli,
        )
        .within(LIMIT)
        .bare(
            "with_helm",
            "The charts, with the values for high availability, install a mesh that passes every check.",
            helm::with_helm,
        )
        .within(LIMIT)
}
