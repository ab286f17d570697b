//! Attacks on a guarded pod from the network: each is refused, counted and logged.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{ServerConfig, ServerConnection};
use weft_tests::{
    attack::{Attempt, Authority, Client, Leaf, Verdict},
    backends::{self, Accepted, Behaviour, Server},
    mesh::{Description, Mesh, Watch, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("attack", guarded)
        .scenario(
            "control_with_own_certificate",
            "As a control: the attacker's TLS client is accepted with a certificate of the mesh's issuer, and \
             counted with the identity in it.",
            own_certificate,
        )
        .scenario(
            "foreign_authority",
            "A certificate of a foreign authority with the right names is refused, counted and logged.",
            foreign_authority,
        )
        .scenario(
            "expired_certificate",
            "An expired certificate of the right authority is refused, counted and logged.",
            expired_certificate,
        )
        .scenario(
            "no_certificate",
            "TLS to the right name without a client certificate is refused where the policy requires an identity.",
            no_certificate,
        )
        .scenario("plaintext", "Plaintext is refused where the policy requires an identity.", plaintext)
        .scenario(
            "another_name_is_passed_on",
            "TLS for any other server name reaches the application unchanged, where plaintext is accepted.",
            another_name,
        )
        .scenario(
            "own_tls_inside_the_mesh",
            "An application's own TLS between two meshed pods goes unchanged through the mesh's mTLS, whose identity \
             the policy checks.",
            own_tls_inside_the_mesh,
        )
        .scenario(
            "another_name_does_not_bypass_policy",
            "TLS for another server name is refused like plaintext where the policy requires an identity.",
            another_name_refused,
        )
        .scenario(
            "fragmented_hello",
            "A ClientHello that arrives byte by byte, or in many TLS records, is recognized.",
            fragmented_hello,
        )
        .scenario(
            "endless_hello",
            "A ClientHello that does not end never reaches the application where the policy requires an identity.",
            endless_hello,
        )
}

/// A pod that requires an identity, one that does not, a meshed client, and an unmeshed attacker.
fn guarded() -> Description {
    mesh("attack")
        .proxy_arg("--detect-timeout=3s")
        .pod("guarded", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .pod("open", |pod| pod.node("b").meshed().policy("all-unauthenticated"))
        .pod("friend", |pod| pod.node("a").meshed())
        .pod("attacker", |pod| pod.node("a").unmeshed())
}

/// A server in `pod` and the attacker's client for it, which uses the pod's identity as server name.
fn target(mesh: &Mesh, pod: &str) -> Result<(Server, Client)> {
    let pod = mesh.pod(pod);
    let server = pod.serve(mesh.unused_port(), backends::echo())?;
    let client = Client::new(mesh.pod("attacker").netns(), pod.at(server.port()), &pod.identity());
    Ok((server, client))
}

fn stolen_name(mesh: &Mesh) -> String {
    // Of a service account that exists and would be accepted.
    mesh.pod("open").identity()
}

fn own_certificate(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let proxy = mesh.proxy("b").watch()?;
    let (server, client) = target(mesh, "guarded")?;
    let name = stolen_name(mesh);
    match client.attempt(Some(authority.leaf(&name)?), b"let me in", Attempt::default())? {
        Verdict::Answered { bytes, proven } => {
            ensure!(bytes == b"let me in" && proven, "{bytes:?}, by the asked name: {proven}");
        }
        Verdict::Refused(e) => anyhow::bail!("refused: {e}"),
    }
    server.no_failures()?;
    let labels = [("direction", "inbound"), ("peer", "src"), ("tls", "true"), ("client_id", name.as_str())];
    proxy.expect("tcp_open_total", &labels, 1.0)
}

/// Fails unless the attempt was refused, the application saw nothing, and it was counted and logged with the reason.
fn refused(mesh: &Mesh, server: &Server, proxy: &Watch, verdict: Verdict, why: &[&str]) -> Result<()> {
    let refused = verdict.refused()?;
    ensure!(server.accepted() == 0, "the application saw a connection ({refused})");
    proxy.eventually(|now| {
        let counted =
            ["inbound_tcp_errors_total", "inbound_tcp_authz_deny_total"].map(|name| now.value(name, &[]));
        ensure!(counted.iter().sum::<f64>() >= 1.0, "nothing was counted:\n{}", now.show("inbound_tcp"));
        Ok(())
    })?;
    let attacker = mesh.pod("attacker").v4.to_string();
    mesh.proxy("b").log().expect_line(&[&[attacker.as_str()], why].concat())?;
    Ok(())
}

fn refused_with(mesh: &Mesh, leaf: Option<Leaf>, why: &[&str]) -> Result<()> {
    let proxy = mesh.proxy("b").watch()?;
    let (server, client) = target(mesh, "guarded")?;
    let verdict = wait::promptly("the refusal", || client.attempt(leaf, b"let me in", Attempt::default()))??;
    refused(mesh, &server, &proxy, verdict, why)
}

fn foreign_authority(mesh: &Mesh) -> Result<()> {
    let stranger = Authority::foreign("a stranger")?;
    refused_with(mesh, Some(stranger.leaf(&stolen_name(mesh))?), &["unknown"])?;
    // An authority with the name of the mesh's own: the chain looks right until it is verified.
    let impostor = Authority::foreign("root.linkerd.cluster.local")?;
    refused_with(mesh, Some(impostor.leaf(&stolen_name(mesh))?), &["certificate"])
}

fn expired_certificate(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    refused_with(mesh, Some(authority.expired_leaf(&stolen_name(mesh))?), &["expired"])
}

fn no_certificate(mesh: &Mesh) -> Result<()> {
    refused_with(mesh, None, &["guarded"])
}

fn plaintext(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("b").watch()?;
    let (server, client) = target(mesh, "guarded")?;
    let answered = wait::promptly("the refusal", || plain(&client))?;
    let verdict = match answered {
        Ok(bytes) if bytes.is_empty() => Verdict::Refused(ErrorKind::UnexpectedEof.into()),
        Ok(bytes) => Verdict::Answered { bytes, proven: false },
        Err(e) => Verdict::Refused(e),
    };
    refused(mesh, &server, &proxy, verdict, &["guarded"])?;
    proxy.expect("inbound_tcp_authz_deny_total", &[("pod", "guarded"), ("tls", "no_identity")], 1.0)
}

fn plain(client: &Client) -> std::io::Result<Vec<u8>> {
    let mut stream = weft_tests::dial::from(&client.netns, client.target)?;
    stream.write_all(b"let me in")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// An application that uses TLS itself, with a certificate of another authority.
fn own_tls(name: &str) -> Result<Behaviour> {
    let leaf = Authority::foreign("of the application's own")?.leaf(name)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(leaf.chain, leaf.key)?;
    let config = Arc::new(config);
    Ok(Arc::new(move |accepted: &Accepted| {
        let mut tls = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        let mut stream = &accepted.stream;
        let mut request = [0; 5];
        rustls::Stream::new(&mut tls, &mut stream).read_exact(&mut request)?;
        tls.writer().write_all(&[b"own ".as_slice(), &request].concat())?;
        tls.send_close_notify();
        // Only writes: the client may close as soon as it has the answer.
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        Ok(())
    }))
}

fn another_name(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("open");
    let server = pod.serve(mesh.unused_port(), own_tls("shop.example")?)?;
    let proxy = mesh.proxy("b").watch()?;
    let mut client = Client::new(mesh.pod("attacker").netns(), pod.at(server.port()), "shop.example");
    client.alpn = Vec::new();
    match client.attempt(None, b"hello", Attempt::default())? {
        Verdict::Answered { bytes, proven } => {
            ensure!(bytes == b"own hello", "the answer is {:?}", String::from_utf8_lossy(&bytes));
            ensure!(proven, "the proxy answered the handshake itself");
        }
        Verdict::Refused(e) => anyhow::bail!("refused: {e}"),
    }
    server.no_failures()?;
    let labels = [("direction", "inbound"), ("peer", "src"), ("pod", "open"), ("tls", "opaque")];
    proxy.expect("tcp_open_total", &[&labels[..], &[("sni", "shop.example")]].concat(), 1.0)
}

fn own_tls_inside_the_mesh(mesh: &Mesh) -> Result<()> {
    let (pod, friend) = (mesh.pod("guarded"), mesh.pod("friend"));
    let server = pod.serve(mesh.unused_port(), own_tls("shop.example")?)?;
    let proxy = mesh.proxy("b").watch()?;
    let mut client = Client::new(friend.netns(), pod.at(server.port()), "shop.example");
    client.alpn = Vec::new();
    match client.attempt(None, b"hello", Attempt::default())? {
        Verdict::Answered { bytes, proven } => ensure!(bytes == b"own hello" && proven, "{bytes:?} {proven}"),
        Verdict::Refused(e) => anyhow::bail!("refused: {e}"),
    }
    server.no_failures()?;
    let id = friend.identity();
    let labels =
        [("direction", "inbound"), ("peer", "src"), ("pod", "guarded"), ("tls", "true"), ("client_id", &id)];
    proxy.expect("tcp_open_total", &labels, 1.0)
}

fn another_name_refused(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let proxy = mesh.proxy("b").watch()?;
    let (server, mut client) = target(mesh, "guarded")?;
    // Even with a certificate of the mesh: the proxy does not terminate TLS for other names.
    client.sni = stolen_name(mesh);
    let leaf = authority.leaf(&stolen_name(mesh))?;
    let verdict =
        wait::promptly("the refusal", || client.attempt(Some(leaf), b"let me in", Attempt::default()))??;
    refused(mesh, &server, &proxy, verdict, &["guarded"])
}

fn fragmented_hello(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(&mesh.control().state(""))?;
    let whole = Attempt::default();
    let attempts = [
        ("byte by byte", Attempt { piece: 1, pause: Duration::from_micros(200), ..whole }),
        ("in two or three parts", Attempt { piece: 700, pause: Duration::from_millis(300), ..whole }),
        ("in small records", Attempt { record: Some(100), ..whole }),
        (
            "in small records, byte by byte",
            Attempt { piece: 1, pause: Duration::from_micros(200), record: Some(64) },
        ),
    ];
    for (how, attempt) in attempts {
        let (server, client) = target(mesh, "guarded")?;
        let leaf = authority.leaf(&stolen_name(mesh))?;
        let answer = client.attempt(Some(leaf), b"let me in", attempt)?.answer().context(how)?;
        ensure!(answer == b"let me in", "{how}: {answer:?}");
        server.no_failures()?;
    }
    Ok(())
}

fn endless_hello(mesh: &Mesh) -> Result<()> {
    let (server, client) = target(mesh, "guarded")?;
    // A handshake record of 16 000 bytes that never arrives, then one that is larger than TLS allows.
    for beginning in [[22, 3, 1, 62, 128, 1].as_slice(), [22, 3, 1, 255, 255, 1].as_slice()] {
        let mut stream = weft_tests::dial::from(&client.netns, client.target)?;
        stream.write_all(beginning)?;
        let ended = stream.read(&mut [0; 16]);
        ensure!(matches!(&ended, Ok(0)) || is_reset(&ended), "instead of an end: {ended:?}");
    }
    ensure!(server.accepted() == 0, "the application saw {} connections", server.accepted());
    let address: SocketAddr = client.target;
    let alive = Authority::of_mesh(&mesh.control().state(""))?.leaf(&stolen_name(mesh))?;
    client.attempt(Some(alive), b"x", Attempt::default())?.answer().with_context(|| address.to_string())?;
    Ok(())
}

fn is_reset(result: &std::io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}
