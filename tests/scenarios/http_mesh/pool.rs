//! Connections to endpoints are kept and used again, by one pod only.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Origin, Wire},
    http2::{self, Answer},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

use super::{
    load::{Load, Named, PROTOCOLS},
    ways::{all_ports, ask, each_way, ok, servers},
};

pub(crate) fn area() -> Area {
    Area::new("http_pool", twins)
        .scenario(
            "twins",
            "Two pods of one identity share no connection: each connection at the server carries one pod's requests \
             and comes from its address.",
            twins_share_nothing,
        )
        .scenario(
            "reused",
            "A hundred requests on one connection use one connection to the server; on a hundred connections they use \
             at most one for each worker thread.",
            reused,
        )
        .scenario(
            "idle",
            "An idle connection to the server is closed after some seconds, although the client keeps its own, and the \
             next request opens another.",
            idle,
        )
        .scenario(
            "left",
            "When an endpoint leaves its service, its idle connections are closed within seconds.",
            left,
        )
        .alone(
            "renewed",
            "After the renewal of a certificate requests use new connections, over HTTP/1 and HTTP/2, and none fails.",
            short_lived,
            renewed,
        )
        .within(Duration::from_secs(150))
}

/// Two clients with one service account, and servers on both nodes.
fn twins() -> Description {
    servers(mesh("http-pool"), &[("near", "a"), ("far", "b")])
        .pod("client", |pod| pod.node("a").meshed())
        .pod("twin", |pod| pod.node("a").meshed().account("client"))
        .pod("shop", |pod| pod.node("b").meshed())
        .service("shop", all_ports)
}

/// Certificates are valid for 5 s plus a clock tolerance of 20 s.
fn short_lived() -> Description {
    twins().control_arg("--issuance-lifetime=5s")
}

fn twins_share_nothing(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 40;
    let twins = ["client", "twin"].map(|name| mesh.pod(name));
    ensure!(twins[0].identity() == twins[1].identity(), "they are no twins");
    each_way(mesh, |way| {
        // For each connection its peer and the clients that have used it.
        type Seen = Arc<Mutex<BTreeMap<(IpAddr, u16), BTreeSet<String>>>>;
        let seen = Seen::default();
        let noted = seen.clone();
        let origin = Origin::start(&way.server, mesh.unused_port(), move |session| {
            let peer = session.wire.stream().peer_addr()?;
            while let Some(request) = session.request()? {
                let client = request.head.values("x-client").join(",");
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.entry((peer.ip().to_canonical(), peer.port())).or_default().insert(client);
                session.wire.send(ok("x"))?;
            }
            Ok(())
        })?;
        let mut wires = Vec::new();
        for twin in &twins {
            wires.push((twin, way.connect_from(twin, origin.port())?));
        }
        for _ in 0..REQUESTS {
            for (twin, wire) in &mut wires {
                ask(wire, "/", &format!("X-Client: {}\r\n", twin.name()))?;
            }
        }
        let noted = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        println!("{}: {noted:?}", way.server.name());
        for ((peer, _), clients) in &noted {
            let expected = twins.iter().find(|twin| IpAddr::V4(twin.v4) == *peer);
            let expected = expected.map(|twin| twin.name().to_owned());
            ensure!(clients.len() == 1 && clients.first() == expected.as_ref(), "{peer}: {clients:?}");
        }
        ensure!(noted.len() == 2, "{} connections", noted.len());

        let seen = Seen::default();
        let noted = seen.clone();
        let server = way.http2(move |request| {
            let client = request.header("x-client").to_owned();
            let peer = (request.peer.ip().to_canonical(), request.peer.port());
            noted.lock().unwrap_or_else(PoisonError::into_inner).entry(peer).or_default().insert(client);
            Answer::http(200, "x")
        })?;
        let target = mesh.service(way.server.name()).at(server.port());
        for twin in &twins {
            let client = http2::Client::over(twin.connect(target)?)?;
            for _ in 0..REQUESTS {
                let mut request = http2::get(&way.host(server.port()), "/");
                request.headers_mut().insert("x-client", twin.name().parse()?);
                ensure!(client.send(request)?.status == 200, "a request failed");
            }
        }
        let noted = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        println!("{}, HTTP/2: {noted:?}", way.server.name());
        for ((peer, _), clients) in &noted {
            let expected = twins.iter().find(|twin| IpAddr::V4(twin.v4) == *peer);
            let expected = expected.map(|twin| twin.name().to_owned());
            ensure!(clients.len() == 1 && clients.first() == expected.as_ref(), "{peer}: {clients:?}");
        }
        origin.no_failures()
    })
}

fn reused(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 100;
    let workers = std::thread::available_parallelism()?.get() as u64;
    each_way(mesh, |way| {
        let origin = way.answering(|request| ok(request.head.target()))?;
        let proxy = mesh.proxy("a").watch()?;
        let opened = [("direction", "outbound"), ("peer", "dst"), ("dst_pod", way.server.name())];
        let mut client = way.connect(origin.port())?;
        for _ in 0..REQUESTS {
            ask(&mut client, "/", "")?;
        }
        ensure!(origin.connections() == 1, "the server has {} connections", origin.connections());
        proxy.expect("tcp_open_total", &opened, 1.0)?;
        for _ in 0..REQUESTS {
            ask(&mut way.connect(origin.port())?, "/", "")?;
        }
        let connections = origin.connections();
        println!("{}: {connections} connections for {} requests", way.server.name(), 2 * REQUESTS);
        ensure!(connections <= 1 + workers, "the server has {connections} connections");

        let server = way.http2(|_| Answer::http(200, "x"))?;
        for _ in 0..REQUESTS {
            let client = way.connect2(server.port())?;
            ensure!(client.send(http2::get("origin.test", "/"))?.status == 200, "a request failed");
        }
        let connections = server.peers().len() as u64;
        ensure!(connections <= workers, "by HTTP/2 the server has {connections} connections");
        origin.no_failures()
    })
}

/// How long an idle HTTP/1 connection is kept, and how often the pool is looked at.
const IDLE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(1)];

fn idle(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let open = Arc::new(Mutex::new(0));
        let counted = open.clone();
        let count = move |change: i32| {
            *counted.lock().unwrap_or_else(PoisonError::into_inner) += change;
        };
        let origin = Origin::start(&way.server, mesh.unused_port(), move |session| {
            count(1);
            while session.request()?.is_some() {
                session.wire.send(ok("x"))?;
            }
            count(-1);
            Ok(())
        })?;
        let mut client: Wire = way.connect(origin.port())?;
        ask(&mut client, "/", "")?;
        let begun = Instant::now();
        let is_open = || *open.lock().unwrap_or_else(PoisonError::into_inner) > 0;
        ensure!(is_open(), "the connection was closed at once");
        wait::until("the idle connection is closed", || !is_open())?;
        let after = begun.elapsed();
        println!("{}: closed after {after:?}", way.server.name());
        let expected = Duration::from_secs(2)..wait::here(IDLE[0] + IDLE[1] + Duration::from_secs(2));
        ensure!(expected.contains(&after), "closed after {after:?}");
        ensure!(ask(&mut client, "/", "")?.head.status() == 200, "the next request failed");
        ensure!(origin.connections() == 2, "{} connections", origin.connections());
        origin.no_failures()
    })
}

fn left(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let server = http2::Server::start(mesh.pod("shop").netns(), port, |_| Answer::http(200, "x"))?;
    let client = http2::Client::over(mesh.pod("client").connect(mesh.service("shop").at(port))?)?;
    ensure!(client.send(http2::get("shop.test", "/"))?.status == 200, "the request failed");
    std::thread::sleep(Duration::from_secs(4));
    ensure!(server.open() == 1, "the idle connection is not kept");
    mesh.change_pod("shop", |pod| pod.app("nobody"))?;
    let begun = Instant::now();
    let closed = wait::until_for(Duration::from_secs(10), "its connection is closed", || server.open() == 0);
    mesh.change_pod("shop", |pod| pod.app("shop"))?;
    println!("closed after {:?}", begun.elapsed());
    closed
}

fn renewed(mesh: &Mesh) -> Result<()> {
    let mut loads = Vec::new();
    let mut running = Vec::new();
    for protocol in PROTOCOLS {
        let port = mesh.unused_port();
        running.push(Named::start(mesh, "far", port, protocol, Duration::ZERO)?);
        let target = mesh.service("far").at(port);
        loads.push(Load::start(&mesh.pod("client"), target, protocol, 1, Duration::from_millis(20)));
    }
    loads.iter().try_for_each(|load| load.keep_on(20))?;
    let renewals = || {
        let own = mesh.pod("client").identity();
        let labels = [("identity", own.as_str()), ("result", "ok")];
        Ok::<_, anyhow::Error>(
            mesh.proxy("a").metrics()?.value("control_identity_cert_refreshes_total", &labels),
        )
    };
    let opened = [("direction", "outbound"), ("peer", "dst"), ("pod", "client"), ("dst_pod", "far")];
    for _ in 0..2 {
        let (proxy, before) = (mesh.proxy("a").watch()?, renewals()?);
        wait::until_ok_for(Duration::from_secs(40), "the certificate is renewed", || {
            ensure!(renewals()? > before, "not yet");
            Ok(())
        })?;
        loads.iter().try_for_each(|load| load.keep_on(20))?;
        // One for each protocol; more if a worker thread has one of its own.
        proxy.eventually(|now| {
            let count = now.value("tcp_open_total", &opened);
            ensure!(count >= 2.0, "{count} connections were opened");
            Ok(())
        })?;
    }
    for load in loads {
        let outcome = load.stop();
        println!("{outcome:?}");
        outcome.no_failures()?;
        ensure!(outcome.connections == 1, "the client had to connect again: {outcome:?}");
    }
    Ok(())
}
