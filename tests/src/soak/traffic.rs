//! The traffic of the soak test.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use socket2::SockRef;

use super::{
    Soak,
    model::{Connection, Model},
    requests::{self, Exchanged},
    streams,
    testbed::{ECHOES, EXCHANGES, GREETER, GREETING, HTTP, Role, SHOP, TEST_PODS, TestPod, of},
};
use crate::{
    backends::{self, Behaviour},
    dial::{self, RetryingReader},
    load::{Pattern, Plan, after_receiving},
    netns::Netns,
};

#[derive(Clone, Copy)]
enum Kind {
    Short,
    Bulk,
    Reset,
    Echo,
    Greeted,
    Brief,
    Http1,
    Http2,
    Talk,
    WebSocket,
}

/// With weights.
const KINDS: [(Kind, u32); 9] = [
    (Kind::Short, 20),
    (Kind::Bulk, 1),
    (Kind::Reset, 3),
    (Kind::Echo, 3),
    (Kind::Greeted, 3),
    (Kind::Http1, 12),
    (Kind::Http2, 12),
    (Kind::Talk, 4),
    (Kind::WebSocket, 4),
];

struct Target {
    pods: Vec<TestPod>,
    address: SocketAddr,
    port: u16,
}

/// The servers of a pod, by port.
pub(super) fn behaviours(model: &Arc<Model>, test_pod: TestPod) -> Vec<(u16, Behaviour)> {
    let noted = model.clone();
    let exchange: Behaviour = Arc::new(move |accepted| {
        let (id, result) = match Plan::announced(&accepted.stream) {
            Ok(plan) => (plan.up.0, plan.answer(&accepted.stream).map(|()| plan.up.1)),
            Err(e) => (0, Err(e)),
        };
        noted.served(test_pod, id, result);
        Ok(())
    });
    let greeter = backends::banner(GREETING);
    let ports = EXCHANGES.map(|port| (port, exchange.clone()));
    let echoes = ECHOES.map(|port| (port, backends::echo()));
    let http1 = requests::http1_server(model, test_pod);
    ports.into_iter().chain(echoes).chain([(GREETER, greeter), http1]).collect()
}

/// Connects once from a pod to every other in every way, so that whatever is created only once exists.
pub(super) fn use_everything_once(soak: &Soak, source: TestPod, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for test_pod in TEST_PODS {
        let exchanges = EXCHANGES.map(|port| (Kind::Short, port));
        let echoes = ECHOES.map(|port| (Kind::Brief, port));
        let once = exchanges.into_iter().chain(echoes).chain([
            (Kind::Greeted, GREETER),
            (Kind::Http1, HTTP[0]),
            (Kind::Http2, HTTP[1]),
            (Kind::WebSocket, HTTP[0]),
            (Kind::Talk, HTTP[1]),
        ]);
        // Direct pass begins after a first connection through the proxy.
        for (kind, port) in once.chain([exchanges[1], echoes[1]]) {
            for v6 in [false, true] {
                for by_service in [false, true] {
                    talk_once(
                        soak,
                        source,
                        target(soak, source, test_pod, port, v6, by_service),
                        kind,
                        &mut random,
                    );
                }
            }
        }
    }
}

/// Sends traffic from a pod until the soak is over.
pub(super) fn keep_talking(soak: &Soak, source: TestPod, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !soak.is_over() {
        let kind = KINDS.choose_weighted(&mut random, |(_, weight)| *weight);
        let kind = kind.map_or(Kind::Short, |(kind, _)| *kind);
        let ports: &[u16] = match kind {
            Kind::Short | Kind::Bulk | Kind::Reset => &EXCHANGES,
            Kind::Echo | Kind::Brief => &ECHOES,
            Kind::Greeted => &[GREETER],
            Kind::Http1 | Kind::WebSocket => &HTTP[..1],
            Kind::Http2 | Kind::Talk => &HTTP[1..],
        };
        if let (Some(test_pod), Some(port)) = (TEST_PODS.choose(&mut random), ports.choose(&mut random)) {
            let (v6, by_service) = (random.random_bool(0.3), random.random_bool(0.5));
            let target = target(soak, source, *test_pod, *port, v6, by_service);
            talk_once(soak, source, target, kind, &mut random);
        }
        thread::sleep(Duration::from_millis(random.random_range(0..30)));
    }
}

fn talk_once(soak: &Soak, source: TestPod, target: Option<Target>, kind: Kind, random: &mut StdRng) {
    let (id, amounts) =
        (random.random::<u64>() | 1, [random.random::<u64>(), random.random(), random.random()]);
    // One of the two pods does not exist now.
    let (Some(target), Some(netns)) = (target, soak.netns(source)) else { return };
    let begun = Instant::now();
    let (name, result) = match kind {
        Kind::Short => ("short exchange", exchange(&netns, target.address, id, amounts, 40_000)),
        Kind::Bulk => ("bulk exchange", exchange(&netns, target.address, id, amounts, 6_000_000)),
        Kind::Reset => ("reset by the client", reset(&netns, target.address, id)),
        Kind::Echo => ("long conversation", echo(&netns, target.address, id, amounts[0], "")),
        Kind::Brief => ("short conversation", echo(&netns, target.address, id, 0, "")),
        Kind::Greeted => ("server first", echo(&netns, target.address, id, 0, GREETING)),
        Kind::Http1 => ("HTTP/1", noted(soak, "HTTP/1", requests::over_http1(&netns, target.address, id))),
        Kind::Http2 => ("HTTP/2", noted(soak, "HTTP/2", requests::over_http2(&netns, target.address, id))),
        Kind::Talk => ("talk", noted(soak, "talk", streams::over_http2(&netns, target.address, id))),
        Kind::WebSocket => ("WebSocket", streams::over_websocket(&netns, target.address, id)),
    };
    if soak.netns(source).is_none() {
        // The source was deleted meanwhile: its outcome does not count.
        return;
    }
    let Target { pods: destinations, port, .. } = target;
    let answered = !matches!(kind, Kind::Reset);
    soak.model.check(Connection { id, kind: name, source, destinations, port, begun, answered, result });
}

/// Counts the requests of a connection.
fn noted(soak: &Soak, kind: &str, (done, result): (Exchanged, io::Result<()>)) -> io::Result<u64> {
    soak.model.requested(kind, [done.requests, done.repeated, done.cancelled]);
    result.map(|()| done.bytes)
}

/// An address of a pod or its service, if the source may use it. Guarded pods do not know pods that join and leave.
fn target(
    soak: &Soak,
    source: TestPod,
    test_pod: TestPod,
    port: u16,
    v6: bool,
    by_service: bool,
) -> Option<Target> {
    let unsuitable = test_pod.name == source.name
        || (test_pod.role == Role::Guarded && source.role == Role::Joining)
        || (test_pod.role == Role::Shop && source.role == Role::Shop);
    if unsuitable {
        return None;
    }
    let of_service = |name: &str| {
        let service = soak.mesh.service(name);
        if v6 { service.at6(port) } else { service.at(port) }
    };
    if test_pod.role == Role::Shop {
        return Some(Target { pods: of(Role::Shop), address: of_service(SHOP), port });
    }
    let pod = soak.addresses(test_pod)?;
    let address = match (by_service, v6) {
        (true, _) => of_service(test_pod.name),
        (false, false) => (pod.0, port).into(),
        (false, true) => (pod.1, port).into(),
    };
    Some(Target { pods: vec![test_pod], address, port })
}

fn exchange(netns: &Netns, target: SocketAddr, id: u64, amounts: [u64; 3], most: u64) -> io::Result<u64> {
    let [up, down, piece] = [amounts[0] % most, amounts[1] % most, 1 << (amounts[2] % 8 + 9)];
    let plan = Plan { up: (id, up), down: (!id, down), piece: piece as u32 };
    plan.run(&dial::from(netns, target)?)?;
    Ok(up + down)
}

/// Announces much, sends a part of it, and resets.
fn reset(netns: &Netns, target: SocketAddr, id: u64) -> io::Result<u64> {
    let mut stream = dial::from(netns, target)?;
    let plan = Plan { up: (id, 100_000), down: (!id, 100_000), piece: 4096 };
    let mut sent = vec![0; (id % 50_000) as usize];
    Pattern::new(id).fill(&mut sent);
    stream.write_all(&plan.encode())?;
    stream.write_all(&sent)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(sent.len() as u64)
}

/// One checked echo after the other with pauses, for up to some seconds.
fn echo(netns: &Netns, target: SocketAddr, id: u64, length: u64, greeting: &str) -> io::Result<u64> {
    let stream = dial::from(netns, target)?;
    let mut received = 0;
    match echoes(&stream, id, length, greeting, &mut received) {
        Ok(sent) => Ok(sent + received),
        Err(e) => Err(after_receiving(received, e)),
    }
}

fn echoes(
    mut stream: &TcpStream,
    id: u64,
    length: u64,
    greeting: &str,
    received: &mut u64,
) -> io::Result<u64> {
    let mut greeted = vec![0; greeting.len()];
    RetryingReader(stream).read_exact(&mut greeted)?;
    *received += greeted.len() as u64;
    let wrong = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    if greeted != greeting.as_bytes() {
        return Err(wrong(&format_args!("the greeting is {greeted:?}")));
    }
    let rounds = 1 + length % 400;
    let mut sent = Pattern::new(id);
    let mut back = Pattern::new(id);
    let mut message = vec![0; 1 + (id % 3000) as usize];
    for _ in 0..rounds {
        sent.fill(&mut message);
        stream.write_all(&message)?;
        RetryingReader(stream).read_exact(&mut message)?;
        *received += message.len() as u64;
        back.check(&message).map_err(|e| wrong(&e))?;
        thread::sleep(Duration::from_millis(id >> 8 & 31));
    }
    stream.shutdown(Shutdown::Write)?;
    ended(stream)?;
    Ok(sent.position())
}

fn ended(stream: &TcpStream) -> io::Result<()> {
    match RetryingReader(stream).read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a byte after the end")),
    }
}
