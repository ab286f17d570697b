//! Leaks: many connections, and many joins and leaves, must leave no resources behind.

mod connections;
mod joins;
mod uses;
mod vanishing_pod;

use std::{ops::Range, time::Duration};

use weft_tests::{mesh::PodSpec, suite::Area};

pub(crate) fn area() -> Area {
    Area::without_cluster("leaks")
        .alone(
            "fifty_thousand_connections",
            "50 000 proxied, spliced and direct connections that end in every way, with and without errors, leave no \
             descriptor, socket, socket storage, map entry or series of metrics behind; the memory of both proxies \
             does not grow.",
            connections::description,
            connections::fifty_thousand,
        )
        .within(Duration::from_secs(600))
        .alone(
            "a_thousand_joins_and_leaves",
            "A pod joins, talks and leaves 1 000 times: no descriptor, link, map entry, mount, thread or series of \
             metrics is left behind in the proxies or the control plane, and their memory does not grow.",
            joins::description,
            joins::a_thousand,
        )
        .within(Duration::from_secs(600))
}

/// Every server has several ports, because a client has only so many ports of its own for each of them.
const PORTS: Range<u16> = 8080..8084;
/// Within a node, connections to this port are direct.
const DIRECT: u16 = 8082;
/// Within a node, connections to this port are spliced.
const SPLICED: u16 = 8083;

/// When a peer that has vanished is given up.
const KEEPALIVE: Duration = Duration::from_secs(40);

/// Gives the pod a port for each path within a node: proxied, direct, spliced.
fn with_all_paths(pod: PodSpec) -> PodSpec {
    pod.annotate("config.linkerd.io/opaque-ports", &DIRECT.to_string())
        .annotate("config.weft.dev/splice-ports", &SPLICED.to_string())
}
