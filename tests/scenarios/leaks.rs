//! What is left of very many connections, and of very many joins and leaves? Nothing.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use socket2::SockRef;
use weft_tests::{
    attack, backends,
    backends::{Behaviour, Server},
    census::{Memory, ResourceCensus, SERIES, low_memory},
    load::CloseMode,
    mesh::{Description, Mesh, Pod, PodSpec, mesh},
    netns::Netns,
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::without_cluster("leaks")
        .alone(
            "fifty_thousand_connections",
            "50 000 connections through the proxy, spliced and direct, that end in every way, well and badly, leave \
             no descriptor, no socket, no storage of a socket, no map entry and no series behind; the memory of both \
             proxies stays.",
            places,
            fifty_thousand_connections,
        )
        .within(Duration::from_secs(240))
        .alone(
            "a_thousand_joins_and_leaves",
            "1 000 times a pod joins, talks and leaves: no descriptor, link, map entry, mount, thread or series is \
             left behind in the proxies or in the control plane, and their memory stays.",
            many_pods,
            a_thousand_joins_and_leaves,
        )
        .within(Duration::from_secs(240))
}

/// Servers of either node, of which some let nobody in; a client with a mesh and one without.
fn places() -> Description {
    let servers = [
        ("far", "b", "all-unauthenticated"),
        ("near", "a", "all-unauthenticated"),
        ("guarded", "b", "all-authenticated"),
        ("strict-far", "b", "deny"),
        ("strict-near", "a", "deny"),
    ];
    servers
        .into_iter()
        .fold(low_memory(mesh("leaks")), |cluster, (name, node, policy)| {
            cluster
                .pod(name, |pod| every_way(pod.node(node).meshed()).policy(policy))
                .service(name, |service| PORTS.fold(service, |service, port| service.port(port, port)))
        })
        .pod("client", |pod| every_way(pod.node("a").meshed()))
        .pod("stranger", |pod| pod.node("a").unmeshed())
}

/// Within a node, connections to one of the ports go directly, and those to another are spliced.
fn every_way(pod: PodSpec) -> PodSpec {
    pod.annotate("config.linkerd.io/opaque-ports", "8082").annotate("config.weft.dev/splice-ports", "8083")
}

/// Each server has several: a client has only so many ports of its own for each of theirs.
const PORTS: std::ops::Range<u16> = 8080..8084;
/// Nobody listens there.
const UNSERVED: u16 = 9999;

/// One way of using a connection, and whose it is.
struct Use {
    mode: CloseMode,
    /// None: the address of the pod; some: the service.
    service: bool,
    server: &'static str,
    port: u16,
}

fn uses(mode: CloseMode, servers: &[&'static str], times: usize) -> impl Iterator<Item = Use> {
    let each = servers.iter().copied().flat_map(move |server| (0..times).map(move |n| (server, n)));
    each.map(move |(server, n)| {
        let port = PORTS.start + (n as u16 % PORTS.len() as u16);
        Use { mode: mode.clone(), service: n % 2 == 0, server, port }
    })
}

/// What the meshed client does, over and over.
fn of_client() -> Vec<Use> {
    const OPEN: [&str; 2] = ["far", "near"];
    let unserved = OPEN.map(|server| Use { mode: CloseMode::Denied, service: false, server, port: UNSERVED });
    uses(CloseMode::Echo, &OPEN, 8)
        .chain(uses(CloseMode::Echo, &["guarded"], 4))
        .chain(uses(CloseMode::HalfClose, &OPEN, 4))
        .chain(uses(CloseMode::LeaveUnread, &OPEN, 4))
        .chain(uses(CloseMode::ResetAtOnce, &OPEN, 4))
        .chain(uses(CloseMode::ResetInFlight, &OPEN, 4))
        .chain(uses(CloseMode::AbortConnect, &OPEN, 4))
        .chain(uses(CloseMode::Denied, &["strict-far", "strict-near"], 4))
        .chain(unserved)
        .collect()
}

/// What the stranger does: some of it is let in, most is not.
fn of_stranger(mesh: &Mesh) -> Result<Vec<Use>> {
    let (stranger, guarded) = (mesh.pod("stranger"), mesh.pod("guarded"));
    let hello =
        attack::Client::new(stranger.netns(), guarded.at(PORTS.start), &guarded.identity()).hello()?;
    let half = hello[..hello.len() / 2].to_vec();
    let garbage = [b"\x16\x03\x01\x02\x00".as_slice(), &[0xff; 700]].concat();
    let mut all: Vec<_> =
        uses(CloseMode::Echo, &["far"], 1).chain(uses(CloseMode::Denied, &["guarded"], 1)).collect();
    for words in [hello, half, garbage, b"\x16".to_vec(), Vec::new()] {
        all.extend(uses(CloseMode::Garbage(words), &["guarded", "far"], 1));
    }
    Ok(all)
}

/// Several clients at a time, each on its own way round the uses, until all of them together did `total`.
fn connect_all(mesh: &Mesh, total: u64) -> Result<()> {
    const CLIENTS: usize = 6;
    const STRANGERS: usize = 2;
    let (done, failure) = (AtomicU64::new(0), Mutex::new(None));
    let work = |netns: &Netns, uses: &[Use], from: usize| -> Result<()> {
        let targets: Vec<SocketAddr> = uses.iter().map(|used| target(mesh, used)).collect();
        netns.run(|| {
            for round in from.. {
                let seed = done.fetch_add(1, Ordering::Relaxed);
                if seed >= total || failure.lock().is_ok_and(|failure| failure.is_some()) {
                    return Ok(());
                }
                let used = &uses[round % uses.len()];
                let target = targets[round % uses.len()];
                let gone = used.mode.run(target, seed);
                gone.with_context(|| format!("{:?} with {} at {target}", used.mode, used.server))?;
            }
            Ok(())
        })?
    };
    let (client, stranger) = (of_client(), of_stranger(mesh)?);
    let workers = (0..CLIENTS).map(|n| ("client", &client, n * 7));
    let workers = workers.chain((0..STRANGERS).map(|n| ("stranger", &stranger, n * 5)));
    thread::scope(|scope| {
        for (pod, uses, from) in workers {
            let (work, failure) = (&work, &failure);
            scope.spawn(move || {
                if let Err(e) = work(mesh.pod(pod).netns(), uses, from) {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn target(mesh: &Mesh, used: &Use) -> SocketAddr {
    if used.service { mesh.service(used.server).at(used.port) } else { mesh.pod(used.server).at(used.port) }
}

/// A pod that talks to both nodes and then goes; with `vanish`, while its connections are open, so that their other
/// ends never hear of it.
fn guest(mesh: &Mesh, vanish: bool) -> Result<()> {
    const CONNECTIONS: usize = 20;
    let guest = mesh.add_pod("guest", |pod| every_way(pod.node("a").meshed()))?;
    let servers = ["far", "near"].into_iter().flat_map(|server| PORTS.map(move |port| (server, port)));
    for (server, port) in servers {
        let target = mesh.pod(server).at(port);
        wait::until_ok("the guest is let in", || {
            guest.netns().run(|| CloseMode::Echo.run(target, 1))?.map_err(Into::into)
        })?;
    }
    let open = |server: &str, port| {
        guest.connect_many(mesh.pod(server).at(port), if vanish { CONNECTIONS } else { 0 })
    };
    let _served = guest.serve(PORTS.start, mortal())?;
    let visits = mesh.pod("client").connect_many(guest.at(PORTS.start), CONNECTIONS)?;
    let open = [open("far", PORTS.start)?, open("near", 8083)?];
    mesh.remove_pod("guest")?;
    // Keepalive says nothing of a peer that has not acknowledged everything.
    for mut visit in &visits {
        visit.write_all(b"are you there?")?;
    }
    drop((open, visits));
    mesh.until_enrolled()
}

/// A server that dies with its pod some seconds later, and whose sockets with it.
fn mortal() -> Behaviour {
    Arc::new(|accepted| {
        accepted.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        SockRef::from(&accepted.stream).set_linger(Some(Duration::ZERO))?;
        while (&accepted.stream).read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        Ok(())
    })
}

fn fifty_thousand_connections(mesh: &Mesh) -> Result<()> {
    const BATCHES: usize = 10;
    const BATCH: u64 = 5_000;
    /// Guests that vanish, each with an address that nobody had before.
    const VANISHED: usize = 2;
    /// In so many series is the address of a pod that was visited within its node; they go when nothing has changed
    /// in them for long.
    const SERIES_OF_ADDRESS: u64 = 21;
    let servers = ["far", "near", "guarded", "strict-far", "strict-near"];
    let serve = |name: &&str| -> Result<Vec<Server>> {
        PORTS.map(|port| mesh.pod(name).serve(port, unhurried_echo())).collect()
    };
    let _servers = servers.iter().map(serve).collect::<Result<Vec<_>>>()?;
    let ways = mesh.proxy("a").watch()?;

    connect_all(mesh, 8_000).context("warming up")?;
    guest(mesh, false)?;
    let before = ResourceCensus::settled(mesh)?;
    let mut memory = Memory::default();
    memory.sample(mesh)?;
    for batch in 0..BATCHES {
        // Early: until keepalive finds out takes most of a minute.
        if batch < VANISHED {
            guest(mesh, true)?;
        }
        connect_all(mesh, BATCH)?;
        memory.sample(mesh)?;
    }
    let before = before.allowing(SERIES, VANISHED as u64 * SERIES_OF_ADDRESS);
    ResourceCensus::until_no_increase(mesh, &before, KEEPALIVE * 2, &[])?;
    println!("{}", memory.show());
    ways.expect_some("weft_direct_connections_total", &[])?;
    ways.expect_some("weft_splice_connections_total", &[])?;
    memory.grows_at_most(BATCH * BYTES_PER_CONNECTION)
}

/// An echo that waits for ever: once a server says goodbye to a client that has vanished, it is no longer keepalive
/// that finds out but the retransmission of that goodbye, which takes a quarter of an hour.
fn unhurried_echo() -> Behaviour {
    let echo = backends::echo();
    Arc::new(move |accepted| {
        accepted.stream.set_read_timeout(None)?;
        echo(accepted)
    })
}

/// When a peer that vanished without a word is given up.
const KEEPALIVE: Duration = Duration::from_secs(40);

/// Less than the smallest thing that the proxy makes for a connection.
const BYTES_PER_CONNECTION: u64 = 64;

const PODS: usize = 50;

/// Pods that stay where they are, and a server on either node that they talk to.
fn many_pods() -> Description {
    let cluster = ["a", "b"].into_iter().fold(low_memory(mesh("comers")), |cluster, node| {
        cluster.pod(&format!("server-{node}"), |pod| every_way(pod.node(node).meshed()))
    });
    (0..PODS).fold(cluster, |cluster, n| {
        cluster.pod(&comer(n), |pod| every_way(pod.node(if n % 2 == 0 { "a" } else { "b" }).unmeshed()))
    })
}

fn comer(n: usize) -> String {
    format!("comer-{n}")
}

fn a_thousand_joins_and_leaves(mesh: &Mesh) -> Result<()> {
    const ROUNDS: usize = 1_000 / PODS;
    let comers: Vec<_> = (0..PODS).map(|n| mesh.pod(&comer(n))).collect();
    let servers = ["server-a", "server-b"].map(|name| mesh.pod(name));
    let serve =
        |pod: &Pod| -> Result<Vec<Server>> { PORTS.map(|port| pod.serve(port, backends::echo())).collect() };
    let _servers = servers.iter().chain(&comers).map(serve).collect::<Result<Vec<_>>>()?;
    let round = || -> Result<()> {
        for comer in &comers {
            mesh.change_pod(comer.name(), |pod| pod.meshed())?;
        }
        mesh.until_enrolled()?;
        for (n, comer) in comers.iter().enumerate() {
            // Half of them with the server of their own node.
            let server = &servers[n / 2 % 2];
            for (from, to) in [(comer, server), (server, comer)] {
                // The second time the opaque port is reached directly, if it is on the same node.
                for port in PORTS.chain([8082]) {
                    // Until a client's proxy has heard of it, a leaver's identity may still be asked for.
                    let talk =
                        || from.netns().run(|| CloseMode::Echo.run(to.at(port), 7))?.map_err(Into::into);
                    wait::until_ok("they talk", talk)?;
                }
            }
        }
        for comer in &comers {
            mesh.change_pod(comer.name(), |pod| pod.unmeshed())?;
        }
        mesh.until_enrolled()
    };
    // The first rounds also make what stays for good: connections to the control plane, series, worker threads.
    (0..4).try_for_each(|_| round())?;
    let before = ResourceCensus::settled(mesh)?;
    let mut memory = Memory::default();
    memory.sample(mesh)?;
    for _ in 0..ROUNDS {
        round()?;
        memory.sample(mesh)?;
    }
    ResourceCensus::until_no_increase(mesh, &before, KEEPALIVE * 2, &[])?;
    println!("{}", memory.show());
    memory.grows_at_most(PODS as u64 / 2 * BYTES_PER_JOIN)
}

/// Of joining, talking and leaving: less than a key with its certificates, or a listener's task.
const BYTES_PER_JOIN: u64 = 8 << 10;
