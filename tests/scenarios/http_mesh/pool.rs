//! Connections to endpoints are kept and used again, by one pod only.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
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
            "early",
            "Connections to the server that were opened while clients were silent, and that their first requests do not \
             need, are closed, although the clients keep their own.",
            early,
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
    let workers = std::thread::available_parallelism()?.get();
    each_way(mesh, |way| {
        // For each connection, how many requests it has carried. One that was opened while the client was silent may
        // carry none: on a busy machine, it comes too late for the first request.
        let carried: Arc<Mutex<Vec<usize>>> = Arc::default();
        let noted = carried.clone();
        let origin = Origin::start(&way.server, mesh.unused_port(), move |session| {
            let carried = || noted.lock().unwrap_or_else(PoisonError::into_inner);
            let own = {
                let mut all = carried();
                all.push(0);
                all.len() - 1
            };
            while session.request()?.is_some() {
                carried()[own] += 1;
                session.wire.send(ok("x"))?;
            }
            Ok(())
        })?;
        let used = || {
            let carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
            carried.iter().filter(|requests| **requests > 0).count()
        };
        // An idle connection is not kept for ever, and a busy machine may stand still.
        let mut pauses = 0;
        let mut last = Instant::now();
        let mut ask_once = |client: &mut Wire| -> Result<()> {
            ask(client, "/", "")?;
            pauses += usize::from(last.elapsed() >= IDLE[0]);
            last = Instant::now();
            Ok(())
        };
        let proxy = mesh.proxy("a").watch()?;
        let mut client = way.connect(origin.port())?;
        for _ in 0..REQUESTS {
            ask_once(&mut client)?;
        }
        let by_one = used();
        // The same on the way to the node of the server.
        let opened = [("direction", "outbound"), ("peer", "dst"), ("dst_pod", way.server.name())];
        let opened = proxy.now()?.value("tcp_open_total", &opened);
        for _ in 0..REQUESTS {
            ask_once(&mut way.connect(origin.port())?)?;
        }
        let by_many = used() - by_one;
        println!(
            "{}: {by_one} and {by_many} connections were used for {REQUESTS} requests each, of {} in all; {pauses} pauses",
            way.server.name(),
            origin.connections()
        );
        ensure!(by_one <= 1 + pauses, "requests on one connection used {by_one}, after {pauses} pauses");
        ensure!(by_many <= workers + pauses, "those on many used {by_many} more, after {pauses} pauses");
        // One may have been opened in vain.
        let expected = 1.0..=(2 + pauses) as f64;
        ensure!(expected.contains(&opened), "the proxy has opened {opened}, after {pauses} pauses");

        let peers: Arc<Mutex<BTreeSet<SocketAddr>>> = Arc::default();
        let noted = peers.clone();
        let server = way.http2(move |request| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).insert(request.peer);
            Answer::http(200, "x")
        })?;
        for _ in 0..REQUESTS {
            let client = way.connect2(server.port())?;
            ensure!(client.send(http2::get("origin.test", "/"))?.status == 200, "a request failed");
        }
        let used = peers.lock().unwrap_or_else(PoisonError::into_inner).len();
        ensure!(used <= workers, "requests by HTTP/2 used {used} connections");
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

fn early(mesh: &Mesh) -> Result<()> {
    /// More than there are worker threads, each of which has connections of its own.
    const SILENT: usize = 8;
    each_way(mesh, |way| {
        let open = Arc::new(Mutex::new(0_usize));
        let counted = open.clone();
        let origin = Origin::start(&way.server, mesh.unused_port(), move |session| {
            *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            // However it ends.
            while let Ok(Some(_)) = session.request() {
                session.wire.send(ok("x"))?;
            }
            *counted.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            Ok(())
        })?;
        let open = || *open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first = way.connect(origin.port())?;
        ask(&mut first, "/", "")?;
        let mut silent: Vec<_> = (0..SILENT).map(|_| way.connect(origin.port())).collect::<Result<_>>()?;
        wait::until_ok("the server is connected for the silent clients", || {
            // The connection that the first client's requests use is not closed meanwhile.
            ask(&mut first, "/", "")?;
            ensure!(open() > SILENT, "{} connections", open());
            Ok(())
        })?;
        for client in &mut silent {
            ask(client, "/", "")?;
        }
        wait::until("no connection to the server is left", || open() == 0)?;
        for client in &mut silent {
            ensure!(ask(client, "/", "")?.head.status() == 200, "the next request failed");
        }
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
