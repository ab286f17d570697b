//! Zone hints of EndpointSlices decide over which endpoints a client's requests are balanced.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use weft_tests::{
    mesh::{Description, Mesh, NAMESPACE, mesh},
    suite::Area,
    wait,
};

use super::{
    load::{Load, Named, PROTOCOLS},
    ways::all_ports,
};

pub(crate) fn area() -> Area {
    Area::new("http_zones", zones).scenario(
        "hints",
        "Requests go to the endpoints that are meant for the client's zone; to all ready ones if none of those is ready, \
         or if an endpoint has no hint.",
        hints,
    )
}

const NODES: &str = "\
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: west}}
---
apiVersion: v1
kind: Node
metadata: {name: b, labels: {topology.kubernetes.io/zone: east}}
";

fn zones() -> Description {
    mesh("http-zones")
        .file("nodes.yaml", NODES)
        .pod("western", |pod| pod.node("a").meshed())
        .pod("eastern", |pod| pod.node("b").meshed())
        .pod("one", |pod| pod.node("a").meshed().app("shop"))
        .pod("two", |pod| pod.node("b").meshed().app("shop"))
        .pod("three", |pod| pod.node("b").meshed().app("shop"))
        .service("shop", all_ports)
}

const PODS: [&str; 3] = ["one", "two", "three"];

/// A pod as an endpoint: whether it is ready, and for which zone.
type Endpoint = (&'static str, bool, Option<&'static str>);

fn slice(mesh: &Mesh, port: u16, endpoints: &[Endpoint]) -> Result<()> {
    let endpoints: String = endpoints
        .iter()
        .map(|(pod, ready, zone)| {
            let hints = zone.map(|zone| format!(", hints: {{forZones: [{{name: {zone}}}]}}")).unwrap_or_default();
            let ip = mesh.pod(pod).v4;
            format!(
                "  - {{addresses: [{ip}], conditions: {{ready: {ready}}}, targetRef: {{kind: Pod, name: {pod}, \
                 namespace: {NAMESPACE}}}{hints}}}\n"
            )
        })
        .collect();
    let text = format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: shop, namespace: {NAMESPACE}, labels: {{kubernetes.io/service-name: shop}}}}
addressType: IPv4
ports: [{{name: p{port}, port: {port}}}]
endpoints:
{endpoints}"
    );
    mesh.write("slice.yaml", &text)
}

/// What it shows, the endpoints, and the pods that the western and the eastern client must reach.
type Step = (&'static str, [Endpoint; 3], &'static [&'static str], &'static [&'static str]);

fn hints(mesh: &Mesh) -> Result<()> {
    let (west, east) = (Some("west"), Some("east"));
    for protocol in PROTOCOLS {
        let port = mesh.unused_port();
        let pods = PODS;
        let servers = pods.map(|pod| Named::start(mesh, pod, port, protocol, Duration::from_millis(1)));
        let _servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
        let steps: [Step; 5] = [
            (
                "each zone has its own",
                [("one", true, west), ("two", true, east), ("three", true, east)],
                &["one"],
                &["two", "three"],
            ),
            (
                "one from another zone is meant for the west too",
                [("one", true, west), ("two", true, east), ("three", true, west)],
                &["one", "three"],
                &["two"],
            ),
            (
                "one of the west's two is not ready",
                [("one", false, west), ("two", true, east), ("three", true, west)],
                &["three"],
                &["two"],
            ),
            (
                "none of the west's is ready",
                [("one", false, west), ("two", true, east), ("three", true, east)],
                &["two", "three"],
                &["two", "three"],
            ),
            (
                "an endpoint has no hint",
                [("one", true, west), ("two", true, east), ("three", true, None)],
                &PODS,
                &PODS,
            ),
        ];
        for (what, endpoints, western, eastern) in steps {
            slice(mesh, port, &endpoints)?;
            for (client, expected) in [("western", western), ("eastern", eastern)] {
                let expected: BTreeSet<&str> = expected.iter().copied().collect();
                let target = mesh.service("shop").at(port);
                let load = Load::start(&mesh.pod(client), target, protocol, 3, Duration::from_millis(2));
                wait::until_ok(what, || {
                    let before = load.so_far();
                    load.keep_on(200)?;
                    let now = load.so_far();
                    let by = |pod: &&str| now.by(pod) > before.by(pod);
                    let used: BTreeSet<&str> = pods.into_iter().filter(by).collect();
                    ensure!(used == expected, "{what}, {protocol:?}: {client} uses {used:?}");
                    Ok(())
                })?;
                load.stop().no_failures()?;
            }
        }
    }
    Ok(())
}
