//! 1 000 joins and leaves.

use anyhow::Result;
use weft_tests::{
    backends::{self, Server},
    census::{Memory, ResourceCensus, SERIES, low_memory},
    load::CloseMode,
    mesh::{Description, Mesh, Pod, mesh},
    wait,
};

use super::{DIRECT, KEEPALIVE, PORTS, with_all_paths};

/// Pods that join and leave.
const CLIENTS: usize = 50;
const ROUNDS: usize = 1_000 / CLIENTS;
/// Rounds after which everything exists that is created only once: connections to the control plane, series of metrics,
/// worker threads.
const WARM_UP: usize = 4;
/// Whether a connection meets a pod that is about to leave is chance, and its end is a few series of that pod's. A leak
/// would be a series for each join.
const SERIES_BY_CHANCE: u64 = 4 * CLIENTS as u64;
/// Less than a key with its certificates, or the task of a listener.
const BYTES_PER_JOIN: u64 = 8 << 10;

/// Clients that join and leave, and a server on each node.
pub(super) fn description() -> Description {
    let cluster = ["a", "b"].into_iter().fold(low_memory(mesh("joins")), |cluster, node| {
        cluster.pod(&format!("server-{node}"), |pod| with_all_paths(pod.node(node).meshed()))
    });
    (0..CLIENTS).fold(cluster, |cluster, n| {
        let node = if n % 2 == 0 { "a" } else { "b" };
        cluster.pod(&client(n), |pod| with_all_paths(pod.node(node).unmeshed()))
    })
}

fn client(n: usize) -> String {
    format!("client-{n}")
}

pub(super) fn a_thousand(mesh: &Mesh) -> Result<()> {
    let clients: Vec<_> = (0..CLIENTS).map(|n| mesh.pod(&client(n))).collect();
    let servers = ["server-a", "server-b"].map(|name| mesh.pod(name));
    let serve =
        |pod: &Pod| -> Result<Vec<Server>> { PORTS.map(|port| pod.serve(port, backends::echo())).collect() };
    let _servers = servers.iter().chain(&clients).map(serve).collect::<Result<Vec<_>>>()?;
    (0..WARM_UP).try_for_each(|_| round(mesh, &clients, &servers))?;
    let before = ResourceCensus::settled(mesh)?;
    let mut memory = Memory::default();
    memory.sample(mesh)?;
    let mut rounds = || -> Result<()> {
        (0..ROUNDS).try_for_each(|_| {
            round(mesh, &clients, &servers)?;
            memory.sample(mesh)
        })?;
        memory.grows_at_most(CLIENTS as u64 / 2 * BYTES_PER_JOIN)
    };
    // On a busy machine, heaps reach their size later. A leak goes on.
    rounds().or_else(|_| rounds())?;
    let most = before.allowing(SERIES, SERIES_BY_CHANCE);
    ResourceCensus::until_no_increase(mesh, &most, KEEPALIVE * 2, &[])?;
    println!("{}", memory.show());
    Ok(())
}

/// All clients join, talk to a server in both directions, and leave.
fn round(mesh: &Mesh, clients: &[Pod], servers: &[Pod; 2]) -> Result<()> {
    for client in clients {
        mesh.change_pod(client.name(), |pod| pod.meshed())?;
    }
    mesh.until_enrolled()?;
    for (n, client) in clients.iter().enumerate() {
        // Half of the clients use the server of their own node.
        let server = &servers[n / 2 % 2];
        for (from, to) in [(client, server), (server, client)] {
            // On the same node, the second connection to the opaque port is direct.
            for port in PORTS.chain([DIRECT]) {
                // Until the source's proxy knows that a pod has left, it may still ask for its identity.
                wait::until_ok("client and server talk", || {
                    from.netns().run(|| CloseMode::Echo.run(to.at(port), 7))?.map_err(Into::into)
                })?;
            }
        }
    }
    for client in clients {
        mesh.change_pod(client.name(), |pod| pod.unmeshed())?;
    }
    mesh.until_enrolled()
}
