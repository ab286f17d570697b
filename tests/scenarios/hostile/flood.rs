//! What if somebody sends more, slower or larger than anybody should?

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    attack::{Attempt, Authority, Client, Verdict},
    backends,
    mesh::Mesh,
    suite::Area,
    wait,
};

use super::{Program, nft, others_are_served, python, town};

pub(super) fn area() -> Area {
    Area::new("hostile_flood", town)
        .scenario(
            "half_open",
            "100 000 half-open connections from made-up addresses cost little memory and keep nobody out.",
            half_open,
        )
        .scenario(
            "slow_hellos",
            "Hundreds of ClientHellos at a few bytes a second end with the detection's time; the log stays readable.",
            slow_hellos,
        )
        .scenario(
            "large_hellos",
            "A ClientHello with a huge server name, many extensions or too many bytes does not get in.",
            large_hellos,
        )
        .scenario(
            "many_server_names",
            "Clients that make up server names fill no more of the metrics than they leave to others.",
            many_server_names,
        )
        .scenario(
            "endless_handshakes",
            "Key updates, empty records and half a handshake without end are cut off or cost nothing.",
            endless_handshakes,
        )
        .scenario(
            "thousands_of_listeners",
            "A pod that listens on thousands of ports fills its own quota; others' new servers are reached at once.",
            thousands_of_listeners,
        )
        .scenario(
            "stuck_handshakes",
            "A pod whose connections never reach the proxy (its own packet filter) fills its own quota only.",
            stuck_handshakes,
        )
}

const HALF_OPEN: usize = 100_000;

fn half_open(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let before = mesh.proxy("b").memory()?;
    let descriptors = mesh.proxy("b").descriptors()?;
    let watch = mesh.proxy("b").watch()?;
    for port in [server.port(), 15006] {
        let count = (HALF_OPEN / 2).to_string();
        let flood = std::thread::scope(|scope| -> Result<()> {
            let flood = scope.spawn(|| {
                python(
                    &stranger,
                    include_str!("half_open.py"),
                    &[&far.v4.to_string(), &port.to_string(), &count],
                )
            });
            while !flood.is_finished() {
                others_are_served(mesh)?;
            }
            flood.join().unwrap_or_else(|_| Ok(String::new())).map(drop)
        });
        flood.with_context(|| format!("port {port}"))?;
    }
    others_are_served(mesh)?;
    server.untouched()?;
    let labels = [("hook", "sk_lookup"), ("outcome", "redirected")];
    watch.eventually(|now| {
        let seen = now.value("weft_capture_total", &labels);
        ensure!(seen >= (HALF_OPEN / 4) as f64, "only {seen} of the SYNs came so far");
        Ok(())
    })?;
    let cookies = far.netns().run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
    println!(
        "     {}",
        figure(&cookies, "SyncookiesSent").map_or(String::new(), |n| format!("{n} SYN cookies sent"))
    );
    let grown = mesh.proxy("b").memory()?.saturating_sub(before);
    ensure!(grown < 16 << 20, "the proxy grew by {grown} bytes");
    let more = mesh.proxy("b").descriptors()?.saturating_sub(descriptors);
    // Sockets in stock for those who were served meanwhile.
    ensure!(more < 400, "{more} descriptors more");
    Ok(())
}

/// A counter of /proc/net/netstat: a line of names, a line of values.
fn figure(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let index = lines.next()?.split(' ').position(|found| found == name)?;
    lines.next()?.split(' ').nth(index)?.parse().ok()
}

const SLOW: usize = 300;

fn slow_hellos(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let watch = mesh.proxy("b").watch()?;
    let streams = stranger.connect_many(far.at(server.port()), SLOW)?;
    // A handshake record of 16 000 bytes, then a byte of it now and then.
    for stream in &streams {
        let mut stream = stream;
        stream.write_all(&[22, 3, 1, 62, 128, 1, 0, 62, 124])?;
    }
    for _ in 0..4 {
        others_are_served(mesh)?;
        for stream in &streams {
            let mut stream = stream;
            let _ = stream.write_all(&[0]);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    for stream in &streams {
        let mut stream = stream;
        let ended = stream.read(&mut [0; 1]);
        ensure!(!matches!(ended, Ok(1)), "an answer: {ended:?}");
    }
    let labels = [("pod", "far"), ("error", "tls detection timeout")];
    watch.expect("inbound_tcp_errors_total", &labels, SLOW as f64)?;
    server.untouched()?;
    // The log tells of some and says how many more there were.
    mesh.proxy("b").log().expect_line(&["tls detection timeout", "more of the same", "lines="])?;
    let lines =
        mesh.proxy("b").log().text().lines().filter(|line| line.contains("detection timeout")).count();
    ensure!(lines < SLOW / 4, "{lines} lines of {SLOW} refusals");
    Ok(())
}

/// A ClientHello with these extensions, in as many records as it takes.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0x13, 1]), &[1, 0], &sized(extensions)].concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    message.chunks(16_000).flat_map(|part| [&[22, 3, 1], &sized(part)[..]].concat()).collect()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let list = sized(&[&[0], &sized(name)[..]].concat());
    [&[0, 0], &sized(&list)[..]].concat()
}

fn large_hellos(mesh: &Mesh) -> Result<()> {
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    let before = mesh.proxy("b").memory()?;
    let own = far.identity();
    let many: Vec<u8> =
        (0..4000u16).flat_map(|n| [&(0x5000 + n).to_be_bytes()[..], &[0, 0]].concat()).collect();
    let hellos = [
        ("a server name of 60 000 bytes", hello(&server_name(&[b'a'; 60_000]))),
        ("a server name of 256 bytes", hello(&server_name(&[b'a'; 256]))),
        ("a server name that is no text", hello(&server_name(&[0xff; 20]))),
        ("two server names", hello(&[server_name(own.as_bytes()), server_name(own.as_bytes())].concat())),
        ("4 000 extensions and no key", hello(&[server_name(own.as_bytes()), many[..].to_vec()].concat())),
        ("a server name cut off", hello(&server_name(own.as_bytes())[..20])),
    ];
    for (what, hello) in &hellos {
        for _ in 0..20 {
            let mut stream = stranger.connect(far.at(server.port()))?;
            // It may be refused before it has said all.
            let _ = stream.write_all(hello);
            let mut answer = Vec::new();
            let ended = wait::promptly(what, || stream.read_to_end(&mut answer))?;
            // An alert at most.
            ensure!(ended.is_err() || answer.first().is_none_or(|kind| *kind == 21), "{what}: {answer:?}");
        }
    }
    server.untouched()?;
    let grown = mesh.proxy("b").memory()?.saturating_sub(before);
    ensure!(grown < 16 << 20, "the proxy grew by {grown} bytes");
    others_are_served(mesh)
}

fn many_server_names(mesh: &Mesh) -> Result<()> {
    const NAMES: usize = 3000;
    let (stranger, pod) = (mesh.pod("stranger"), mesh.pod("mallory"));
    let server = pod.serve(mesh.unused_port(), backends::name("bye"))?;
    for n in 0..NAMES {
        let name = format!("made-up-{n}.example");
        let mut stream = stranger.connect(pod.at(server.port()))?;
        stream.write_all(&hello(&server_name(name.as_bytes())))?;
        let _ = stream.read(&mut [0; 8]);
    }
    let metrics = mesh.proxy("a").metrics()?;
    let names = metrics.label_values("tcp_open_total", &[("pod", "mallory"), ("tls", "opaque")], "sni");
    // Of authorizations there is room for 5 000 label sets: half of it is left to others.
    let authorized =
        metrics.label_values("inbound_tcp_authz_allow_total", &[("pod", "mallory")], "sni").len();
    ensure!(names.len() >= 1000 && authorized <= 2600, "{} names, {authorized} authorizations", names.len());
    let watch = mesh.proxy("a").watch()?;
    others_are_served(mesh)?;
    watch.expect_some("inbound_tcp_authz_allow_total", &[("pod", "near")])
}

fn endless_handshakes(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let (stranger, far) = (mesh.pod("stranger"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::sink())?;
    let before = mesh.proxy("b").memory()?;
    let name = mesh.pod("bystander").identity();
    let mut client = Client::new(stranger.netns(), far.at(server.port()), &far.identity());
    client.alpn = vec![b"weft/tcp".to_vec()];
    let mut tls = client.begin(Some(authority.leaf(&name)?))?;
    let mut stream: TcpStream = stranger.connect(far.at(server.port()))?;
    rustls::Stream::new(&mut tls, &mut stream).write_all(b"hello")?;
    // Nothing is read of what this makes the proxy say.
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut said = 0;
    for _ in 0..20_000 {
        tls.refresh_traffic_keys()?;
        // A byte between two of them, so that they are not counted as a mere flood.
        let written = tls.writer().write_all(b"x").and_then(|()| {
            while tls.wants_write() {
                tls.write_tls(&mut stream)?;
            }
            Ok(())
        });
        if written.is_err() {
            break;
        }
        said += 1;
    }
    println!("     {said} key updates were taken");
    let grown = mesh.proxy("b").memory()?.saturating_sub(before);
    ensure!(grown < 16 << 20, "the proxy grew by {grown} bytes");
    drop(stream);
    // Half a handshake: the hello, and no answer to what the proxy says; its time is limited.
    let watch = mesh.proxy("b").watch()?;
    let mut half = Vec::new();
    for _ in 0..50 {
        let mut tls = client.begin(None)?;
        let mut stream = stranger.connect(far.at(server.port()))?;
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        half.push(stream);
    }
    others_are_served(mesh)?;
    watch.expect("inbound_tcp_errors_total", &[("pod", "far"), ("error", "handshake_timeout")], 50.0)?;
    // And the real thing still works.
    let leaf = authority.leaf(&name)?;
    let open = far.serve(mesh.unused_port(), backends::echo())?;
    let last = Client::new(stranger.netns(), far.at(open.port()), &far.identity());
    match last.attempt(Some(leaf), b"hello", Attempt::default())? {
        Verdict::Answered { .. } => Ok(()),
        Verdict::Refused(e) => anyhow::bail!("refused: {e}"),
    }
}

fn thousands_of_listeners(mesh: &Mesh) -> Result<()> {
    let mallory = mesh.pod("mallory");
    let watch = mesh.proxy("a").watch()?;
    let program = Program::start(
        &mallory,
        "import socket, sys
held = []
for port in range(20000, 25000):
    s = socket.socket()
    s.bind(('0.0.0.0', port))
    s.listen(1)
    held.append(s)
print('listening', flush=True)
sys.stdin.read()",
        &[],
        "listening",
    )?;
    watch.expect_some("weft_capture_total", &[("outcome", "quota_listeners")])?;
    mesh.proxy("a").log().expect_line(&["bound of the kernel side", "quota_listeners"])?;
    // Those that were there before and others' new ones are reached.
    others_are_served(mesh)?;
    let first = mesh.pod("stranger").connect(mallory.at(20_000));
    ensure!(first.is_ok(), "{first:?}");
    let entries = mesh.proxy("a").metrics()?;
    let kept = ["listeners", "seeded"].map(|map| entries.value("weft_capture_map_entries", &[("map", map)]));
    ensure!(kept.iter().all(|kept| *kept < 2200.0), "{kept:?} entries");
    drop(program);
    // The quota is given back when they are closed.
    let server = mallory.serve(mesh.unused_port(), backends::name("here"))?;
    wait::until_ok("mallory's new server is reached", || {
        let mut answer = String::new();
        mesh.pod("stranger").connect(mallory.at(server.port()))?.read_to_string(&mut answer)?;
        ensure!(answer == "here");
        Ok(())
    })
}

fn stuck_handshakes(mesh: &Mesh) -> Result<()> {
    let (mallory, far) = (mesh.pod("mallory"), mesh.pod("far"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    // What is redirected goes to all of 127.0.0.0/8 but its beginning.
    nft(
        &mallory,
        "table inet mallory { chain in { type filter hook input priority 0; \
         ip daddr 127.0.16.0-127.255.255.255 meta l4proto tcp drop; }; }\n",
    )?;
    let watch = mesh.proxy("a").watch()?;
    let program = Program::start(
        &mallory,
        "import socket, sys
held = []
for n in range(18000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    held.append(s)
print('opening', flush=True)
sys.stdin.read()",
        &[&far.v4.to_string(), &server.port().to_string()],
        "opening",
    )?;
    watch.expect_some("weft_capture_total", &[("outcome", "quota_rendezvous")])?;
    watch.expect("weft_capture_total", &[("outcome", "map_full_rendezvous")], 0.0)?;
    mesh.proxy("a").log().expect_line(&["bound of the kernel side", "quota_rendezvous"])?;
    others_are_served(mesh)?;
    drop(program);
    nft(&mallory, "delete table inet mallory\n")?;
    wait::until_ok("mallory connects again", || {
        let mut stream = mallory.connect(far.at(server.port()))?;
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    })
}
