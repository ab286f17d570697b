//! 50 000 connections that end in every way.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use weft_tests::{
    backends::{self, Behaviour, Server},
    census::{Memory, ResourceCensus, SERIES, low_memory},
    mesh::{Description, Mesh, mesh},
    netns::Netns,
};

use super::{
    KEEPALIVE, PORTS,
    uses::{Use, of_client, of_stranger},
    vanishing_pod::{End, come_and_go},
    with_all_paths,
};

const BATCHES: usize = 10;
const BATCH: u64 = 5_000;
const WARM_UP: u64 = 8_000;
/// Concurrent clients in the meshed and in the unmeshed pod.
const CLIENTS: usize = 6;
const STRANGERS: usize = 2;
/// Pods that vanish, each with a new address.
const VANISHED: usize = 2;
/// Series of metrics that contain the address of such a pod. They are removed when they have not changed for long.
const SERIES_OF_ADDRESS: u64 = 21;
/// Less than the smallest allocation that the proxy makes for a connection.
const BYTES_PER_CONNECTION: u64 = 64;

const SERVERS: [(&str, &str, &str); 5] = [
    ("far", "b", "all-unauthenticated"),
    ("near", "a", "all-unauthenticated"),
    ("guarded", "b", "all-authenticated"),
    ("strict-far", "b", "deny"),
    ("strict-near", "a", "deny"),
];

/// Servers on both nodes with different policies; a meshed and an unmeshed client.
pub(super) fn description() -> Description {
    SERVERS
        .into_iter()
        .fold(low_memory(mesh("leaks")), |cluster, (name, node, policy)| {
            cluster
                .pod(name, |pod| with_all_paths(pod.node(node).meshed()).policy(policy))
                .service(name, |service| PORTS.fold(service, |service, port| service.port(port, port)))
        })
        .pod("client", |pod| with_all_paths(pod.node("a").meshed()))
        .pod("stranger", |pod| pod.node("a").unmeshed())
}

pub(super) fn fifty_thousand(mesh: &Mesh) -> Result<()> {
    let _servers = serve(mesh)?;
    let paths = mesh.proxy("a").watch()?;
    connect(mesh, WARM_UP).context("warming up")?;
    come_and_go(mesh, End::Orderly)?;
    let before = ResourceCensus::settled(mesh)?;
    let mut memory = Memory::default();
    memory.sample(mesh)?;

    for batch in 0..BATCHES {
        // At the beginning, because keepalive takes most of a minute.
        if batch < VANISHED {
            come_and_go(mesh, End::Vanishes)?;
        }
        connect(mesh, BATCH)?;
        memory.sample(mesh)?;
    }

    let before = before.allowing(SERIES, VANISHED as u64 * SERIES_OF_ADDRESS);
    ResourceCensus::until_no_increase(mesh, &before, KEEPALIVE * 2, &[])?;
    println!("{}", memory.show());
    paths.expect_some("weft_direct_connections_total", &[])?;
    paths.expect_some("weft_splice_connections_total", &[])?;
    memory.grows_at_most(BATCH * BYTES_PER_CONNECTION)
}

fn serve(mesh: &Mesh) -> Result<Vec<Server>> {
    let each = SERVERS.into_iter().flat_map(|(name, ..)| PORTS.map(move |port| (name, port)));
    each.map(|(name, port)| mesh.pod(name).serve(port, echo_without_timeout())).collect()
}

/// When a server closes a connection to a client that has vanished, keepalive does not apply any more, and the
/// retransmission of the FIN takes a quarter of an hour. So the server must not close first.
fn echo_without_timeout() -> Behaviour {
    let echo = backends::echo();
    Arc::new(move |accepted| {
        accepted.stream.set_read_timeout(None)?;
        echo(accepted)
    })
}

/// Several clients at once, which repeat all uses until they have made `total` connections together.
fn connect(mesh: &Mesh, total: u64) -> Result<()> {
    let (client, stranger) = (of_client(), of_stranger(mesh)?);
    let clients = (0..CLIENTS).map(|n| ("client", &client, n * 7));
    let clients = clients.chain((0..STRANGERS).map(|n| ("stranger", &stranger, n * 5)));
    let (made, failure) = (AtomicU64::new(0), Mutex::new(None));
    let may_go_on = || {
        let is_failed =
            failure.lock().is_ok_and(|failure: std::sync::MutexGuard<Option<_>>| failure.is_some());
        Some(made.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < total && !is_failed)
    };
    thread::scope(|scope| {
        for (pod, uses, first) in clients {
            let (may_go_on, failure) = (&may_go_on, &failure);
            scope.spawn(move || {
                if let Err(error) = work(mesh, mesh.pod(pod).netns(), uses, first, may_go_on) {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// One client: goes through `uses` from the `first` on while `next` gives numbers.
fn work(
    mesh: &Mesh,
    netns: &Netns,
    uses: &[Use],
    first: usize,
    next: &(impl Fn() -> Option<u64> + Sync),
) -> Result<()> {
    let targets: Vec<SocketAddr> = uses.iter().map(|used| used.target(mesh)).collect();
    netns.run(|| {
        let endless = (0..uses.len()).cycle().skip(first);
        for (index, seed) in endless.map_while(|index| Some((index, next()?))) {
            let (used, target) = (&uses[index], targets[index]);
            let result = used.mode.run(target, seed);
            result.with_context(|| format!("{:?} with {} at {target}", used.mode, used.server))?;
        }
        Ok(())
    })?
}
