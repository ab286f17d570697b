//! Measures the proxies' memory for many pods, and for connections of many pods.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};

use weft_vm::link::Links;

use super::{
    case::{Kind, Work},
    figures::Measurement,
    load::{self, Load, Server, Target},
    samples::Samples,
    testbed::{address, key, pod, prepare, proxy, start, until_served},
    usage::Usage,
    variant::{Place, Route},
};
use crate::netns::Netns;

const ROUTE: Route = Route::Weft(Place::Far);
/// Time for the proxies to finish what follows the opening of a connection.
const PAUSE: Duration = Duration::from_millis(300);

/// Starts a cluster of its own with `pods` on node a. Without connections, "before" is the memory of node b's proxy,
/// which has no pods. With connections, node b has as many pods, each dialled by one of node a, and the figures are of
/// both proxies.
pub fn measure(binaries: &Path, pods: usize, connections: usize) -> Result<Measurement> {
    let names = |node: &str| (0..pods).map(|number| format!("idle-{node}-{number}")).collect::<Vec<_>>();
    let (near, far) = (names("a"), if connections == 0 { Vec::new() } else { names("b") });
    let manifests = [("a", &near), ("b", &far)];
    let of_node = |(node, names): &(&str, &Vec<String>)| -> String {
        let numbered = names.iter().enumerate();
        numbered.map(|(number, name)| pod(name, node, "") + &fixed_addresses(number)).collect()
    };
    let manifests = manifests.iter().map(of_node);
    let cluster =
        start("bench-many", binaries, Links::Own, vec![("idle.yaml".to_owned(), manifests.collect())])?;
    until_served(&cluster, &[near.len(), far.len()])?;
    let pids = [cluster.pid(&proxy("b"))?, cluster.pid(&proxy("a"))?];
    let resident = |pids: &[u32]| anyhow::Ok(Usage::of(pids)?.resident);
    let measured = if connections == 0 {
        (resident(&pids[..1])?, resident(&pids[1..])?)
    } else {
        let before = resident(&pids)?;
        let netns = |pod: &str| Ok::<_, anyhow::Error>(Netns::at(cluster.pod_netns(&key(pod))?));
        let mut open: Vec<(Box<dyn Load + Send>, Server)> = Vec::new();
        for (from, to) in near.iter().zip(&far) {
            netns(to)?.run(prepare)??;
            let server = Server::start(&netns(to)?, &[(ROUTE.port(Kind::Echo), Kind::Echo)])?;
            let target = Target { ip: address(&cluster, to)?, route: ROUTE, received: server.received() };
            let load = netns(from)?.run(|| load::start(Work::Idle { connections }, &target))?;
            open.push((load.with_context(|| format!("{from} to {to}"))?, server));
        }
        if let Some((load, _)) = open.first_mut() {
            load.run(PAUSE, &mut Samples::default())?;
        }
        (before, resident(&pids)?)
    };
    let measurement =
        Measurement { resident_before: measured.0, resident: measured.1, ..Measurement::default() };
    cluster.stop()?;
    Ok(measurement)
}

/// The range of a node has 253 addresses: further pods get addresses of other ranges.
fn fixed_addresses(number: usize) -> String {
    if number < IN_RANGE {
        return String::new();
    }
    let (net, host) = (FIRST_NET + number / IN_RANGE, 2 + number % IN_RANGE);
    format!("status:\n  podIPs:\n    - ip: 10.244.{net}.{host}\n    - ip: fd00:10:244:{net}::{host}\n")
}

const IN_RANGE: usize = 200;
/// No node has this range or a later one.
const FIRST_NET: usize = 100;
