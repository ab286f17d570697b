//! The demo: emojivoto, as deploy/demo has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    capture::{Capture, Packet},
    http::{Message, To, Wire},
    kubernetes::{Cluster, NODES, wait},
    metrics::Metrics,
    netns::Netns,
};

pub(crate) const MANIFEST: &str = include_str!("../../../deploy/demo/emojivoto.yaml");
pub(crate) const NAMESPACE: &str = "emojivoto";
/// The deployments, and the node that the test wants each on: some calls stay on a node, others cross.
const DEPLOYMENTS: [(&str, &str); 4] =
    [("emoji", NODES[0]), ("web", NODES[0]), ("voting", NODES[1]), ("vote-bot", NODES[1])];
/// Where the pods of the demo listen.
const PORT: u16 = 8080;

/// A pod's uid and the restarts of its containers: both stay the same while nothing restarts it.
pub(crate) type Lives = BTreeMap<String, (String, String)>;

/// Applies the manifest and waits for its pods.
pub(crate) fn deploy(cluster: &Cluster) -> Result<()> {
    cluster.apply(MANIFEST)?;
    spread(cluster)
}

/// Puts the demo's pods, which the scheduler is free to put on one node, on both, and waits for them.
pub(super) fn spread(cluster: &Cluster) -> Result<()> {
    for (deployment, node) in DEPLOYMENTS {
        let patch = format!(
            r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{node}"}}}}}}}}}}"#
        );
        cluster.kubectl(&["-n", NAMESPACE, "patch", "deployment", deployment, "--patch", &patch])?;
    }
    for (deployment, _) in DEPLOYMENTS {
        cluster.rolled_out(NAMESPACE, &format!("deployment/{deployment}"))?;
    }
    wait::until_ok("only pods of the last version", || {
        let pods = lives(cluster)?;
        ensure!(pods.len() == DEPLOYMENTS.len(), "{pods:?}");
        Ok(())
    })
}

pub(crate) fn remove(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "namespace", NAMESPACE]).map(drop)
}

pub(crate) fn lives(cluster: &Cluster) -> Result<Lives> {
    let path = r#"jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}"#;
    let pods = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-o", path])?;
    let life = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some((words.next()?, (words.next()?, words.collect::<Vec<_>>().join(" "))))
    };
    Ok(pods.lines().filter_map(life).collect())
}

fn status(stream: TcpStream, path: &str) -> Result<u16> {
    let mut wire = Wire::new(stream);
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))?;
    Ok(Message::final_response(&mut wire, To::Other)?.head.status())
}

/// What the node proxies count, for all nodes together.
pub(crate) fn metrics(cluster: &Cluster) -> Result<Metrics> {
    let mut text = String::new();
    for node in NODES {
        // The same series on two nodes are of different pods.
        text += &cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}:4191/proxy/metrics")])?;
    }
    Metrics::parse(&text)
}

/// Waits until each service of the demo has answered requests that came by mTLS or on its own node, and some by mTLS.
pub(crate) fn is_meshed(cluster: &Cluster) -> Result<()> {
    wait::until_ok("meshed requests to every deployment", || {
        let metrics = metrics(cluster)?;
        let requests = |deployment: &str, tls: &str| {
            let labels = [
                ("direction", "inbound"),
                ("namespace", NAMESPACE),
                ("deployment", deployment),
                ("tls", tls),
            ];
            metrics.value("request_total", &labels)
        };
        for deployment in ["emoji", "voting", "web"] {
            let meshed = requests(deployment, "true") + requests(deployment, "local");
            ensure!(meshed > 0.0, "no meshed request to {deployment} yet");
        }
        let encrypted: f64 = ["emoji", "voting", "web"].iter().map(|name| requests(name, "true")).sum();
        ensure!(encrypted > 0.0, "no request by mTLS yet");
        Ok(())
    })
}

/// Watches the wire between the nodes: what the demo's pods say to each other is TLS.
pub(crate) fn wire_is_encrypted(cluster: &Cluster) -> Result<()> {
    let netns = Netns::at(cluster.node_netns(NODES[0]));
    let encrypted = || -> Result<()> {
        let capture = Capture::on(&netns, "eth0")?;
        // vote-bot votes once a second.
        std::thread::sleep(std::time::Duration::from_secs(3));
        let captured = capture.finish()?;
        let is_demos = |end: &(std::net::IpAddr, u16)| end.1 == PORT;
        let ours: Vec<_> = captured
            .packets
            .iter()
            .filter(|packet| is_demos(&packet.source) || is_demos(&packet.destination))
            .collect();
        ensure!(!ours.is_empty(), "no bytes between the nodes");
        // Headers of HTTP/2 are compressed, so text is not looked for: each direction of each connection must show the
        // start of a TLS record at the start of a segment, as the proxies write them.
        let ends = |packet: &Packet| (packet.source, packet.destination);
        let encrypted: BTreeSet<_> =
            ours.iter().filter(|packet| is_tls(&packet.payload)).map(|packet| ends(packet)).collect();
        let plain = ours.iter().find(|packet| !encrypted.contains(&ends(packet)));
        ensure!(plain.is_none(), "no TLS: {plain:?}");
        Ok(())
    };
    wait::until_ok("encrypted bytes between the nodes", encrypted)
}

/// A handshake or application data record, version 1.x (RFC 8446, section 5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [22 | 23, 3, 1..=3, ..])
}

/// The doughnut cannot be voted for; any other emoji can. `connect` makes a connection to the page.
pub(super) fn doughnut_fails(connect: impl Fn() -> Result<TcpStream>) -> Result<()> {
    let status = |path: &str| status(connect().context("the page")?, path);
    let vote = |choice: &str| status(&format!("/api/vote?choice=:{choice}:"));
    ensure!(status("/")? == 200, "the page");
    let (doughnut, taco) = (vote("doughnut")?, vote("taco")?);
    ensure!(doughnut == 500 && taco == 200, "doughnut: {doughnut}, taco: {taco}");
    Ok(())
}
