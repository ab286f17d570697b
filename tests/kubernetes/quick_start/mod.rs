//! What the README tells a user of Kubernetes, command by command.

pub(crate) mod demo;
mod documents;
mod helm;
mod migrating;
mod shell;
mod steps;

use std::time::Duration;

use weft_tests::suite::Area;

pub(crate) use self::steps::passes;

/// With the start of the cluster.
const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::quick_start")
        .bare(
            "with_the_cli",
            "Every command of README.md's quick start does what the README says: pods join the running mesh without a \
             restart, and the dashboard names what fails. Those of docs/install.md remove weft, and the pods run on.",
            steps::with_the_cli,
        )
        .within(LIMIT)
        .bare(
            "beside_linkerd",
            "With Linkerd's trust anchors and issuer in the cluster, the commands of docs/migrating-from-linkerd.md install weft \
             with the same ones, mesh a namespace, and take it out again.",
            migrating::beside_linkerd,
        )
        .within(LIMIT)
        .bare(
            "with_helm",
            "The charts, with the values for high availability, install a mesh that passes every check.",
            helm::with_helm,
        )
        .within(LIMIT)
}
