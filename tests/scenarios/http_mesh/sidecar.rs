//! Requests and connections to a pod with a Linkerd sidecar go through the sidecar's inbound port, as Linkerd's own
//! proxies send them.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{io::AsyncReadExt, net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsAcceptor;
use weft_tests::{
    attack::Authority,
    backends,
    http::{Head, Message, Origin, To, Wire},
    http2::{self, Answer},
    mesh::{Description, Mesh, Pod, mesh},
    netns::Netns,
    suite::Area,
};

use super::ways::{all_ports, ask, ok};

pub(crate) fn area() -> Area {
    Area::new("http_sidecar", cluster)
        .scenario(
            "http1",
            "HTTP/1 goes to a Linkerd sidecar over one HTTP/2 connection, marked by l5d-orig-proto, and comes back as what \
             the application sent.",
            http1,
        )
        .scenario(
            "http2",
            "HTTP/2 goes to a Linkerd sidecar unmarked.",
            http2,
        )
        .scenario(
            "upgrade",
            "An upgrade goes to a Linkerd sidecar as HTTP/1.1, and so does a request that waits for 100 before its body.",
            upgrade,
        )
        .scenario("opaque", "Other bytes go to a Linkerd sidecar as opaque ones.", opaque)
}

const SIDECAR: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: sidecar, namespace: test}
---
apiVersion: v1
kind: Pod
metadata:
  name: sidecar
  namespace: test
  labels: {app: sidecar, linkerd.io/control-plane-ns: linkerd}
spec:
  nodeName: b
  serviceAccountName: sidecar
  containers:
    - name: main
      image: scenario
    - name: linkerd-proxy
      image: scenario
      env: [{name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: \"[::]:4143\"}]
";

fn cluster() -> Description {
    mesh("http-sidecar")
        .pod("client", |pod| pod.node("a").meshed())
        .file("sidecar.yaml", SIDECAR)
        .service("sidecar", all_ports)
}

/// The server's side of mTLS in the place of a sidecar. It removes the header, and passes the bytes to the application.
struct Sidecar {
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
    _runtime: Runtime,
}

const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";

impl Sidecar {
    /// Passes everything to `application`, a port of the pod.
    fn start(mesh: &Mesh, pod: &Pod<'_>, application: u16) -> Result<Self> {
        let listener = pod.netns().run(|| TcpListener::bind("[::]:4143"))??;
        listener.set_nonblocking(true)?;
        let tls = TlsAcceptor::from(Arc::new(config(mesh, &pod.identity())?));
        let runtime = Runtime::new()?;
        let headers = Arc::new(Mutex::new(Vec::new()));
        let (seen, netns) = (headers.clone(), pod.netns().clone());
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, seen, netns) = (tls.clone(), seen.clone(), netns.clone());
                // The scenario's client learns of an error.
                tokio::spawn(async move { serve(stream, &tls, &seen, &netns, application).await });
            }
        });
        Ok(Self { headers, _runtime: runtime })
    }

    /// The headers of all connections so far, without the preface.
    fn headers(&self) -> Vec<Vec<u8>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// As Linkerd's inbound port: a client certificate and the protocol of the header are required.
fn config(mesh: &Mesh, identity: &str) -> Result<ServerConfig> {
    let leaf = Authority::of_mesh(mesh.control().folder())?.leaf(identity)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for anchor in CertificateDer::pem_file_iter(mesh.control().state("anchors.pem"))? {
        roots.add(anchor?)?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(leaf.chain, leaf.key)?;
    config.alpn_protocols = vec![b"transport.l5d.io/v1".to_vec()];
    Ok(config)
}

async fn serve(
    stream: TcpStream,
    tls: &TlsAcceptor,
    seen: &Mutex<Vec<Vec<u8>>>,
    netns: &Netns,
    application: u16,
) -> Result<()> {
    let mut stream = tls.accept(stream).await?;
    ensure!(
        stream.get_ref().1.alpn_protocol().is_some(),
        "the client does not speak the protocol of the header"
    );
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    ensure!(preface == PREFACE, "the preface is {preface:?}");
    let length = stream.read_u32().await?;
    ensure!(length < 1_000, "a header of {length} bytes");
    let mut header = vec![0; length as usize];
    stream.read_exact(&mut header).await?;
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(header);
    let local = netns.run(|| std::net::TcpStream::connect(("127.0.0.1", application)))??;
    local.set_nonblocking(true)?;
    let mut local = TcpStream::from_std(local)?;
    tokio::io::copy_bidirectional(&mut stream, &mut local).await?;
    Ok(())
}

/// The header for a port, with the number of its session protocol.
fn header(port: u16, session: Option<u8>) -> Vec<u8> {
    let mut message = vec![8, port as u8 | 0x80, (port >> 7) as u8];
    if let Some(session) = session {
        message.extend([0x1a, 2, session << 3 | 2, 0]);
    }
    message
}

/// The session protocols of the header.
const HTTP1: Option<u8> = Some(1);
const HTTP2: Option<u8> = Some(2);

/// What the application behind the sidecar has received: the target with its authority, Host and the mark.
fn described(request: &http2::Received) -> String {
    let (host, mark) = (request.header("host"), request.header("l5d-orig-proto"));
    let body = String::from_utf8_lossy(&request.body);
    format!("{} {} host={host} mark={mark} body={body}", request.head.method, request.head.uri)
}

fn http1(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("sidecar");
    let server = http2::Server::start(pod.netns(), mesh.unused_port(), |request| {
        let mut answer = Answer::http(200, described(request));
        let said = if request.head.uri.path() == "/old" { "HTTP/1.0" } else { "HTTP/1.1" };
        answer.headers.insert("l5d-orig-proto", http::HeaderValue::from_static(said));
        answer
    })?;
    let port = server.port();
    let sidecar = Sidecar::start(mesh, &pod, port)?;
    let service = mesh.service("sidecar").at(port);
    let mut client = Wire::new(mesh.pod("client").connect(service)?);
    for (request, expected) in [
        (
            "GET /a?b HTTP/1.1\r\nHost: web.test:80\r\n\r\n".to_owned(),
            "GET http://web.test:80/a?b host=web.test:80 mark=HTTP/1.1 body=",
        ),
        (
            "POST / HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .to_owned(),
            "POST http://web.test/ host=web.test mark=HTTP/1.1 body=abc",
        ),
        (
            "GET /te HTTP/1.1\r\nHost: web.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n".to_owned(),
            "GET http://web.test/te host=web.test mark=HTTP/1.1 body=",
        ),
        (
            "GET http://else.test/x HTTP/1.1\r\nHost: else.test\r\nl5d-orig-proto: forged\r\n\r\n".to_owned(),
            "GET http://else.test/x host=else.test mark=HTTP/1.1; absolute-form body=",
        ),
    ] {
        client.send(&request)?;
        let response = Message::response(&mut client, To::Other)?;
        ensure!(response.head.line.starts_with("HTTP/1.1 200"), "{response:?}");
        ensure!(response.text() == expected, "{request:?} arrived as {:?}", response.text());
        ensure!(response.head.values("l5d-orig-proto").is_empty(), "{:?}", response.head);
    }
    let mut old = Wire::new(mesh.pod("client").connect(service)?);
    old.send("GET /old HTTP/1.0\r\n\r\n")?;
    let answer = String::from_utf8_lossy(&old.all()?).into_owned();
    ensure!(answer.starts_with("HTTP/1.0 200"), "{answer:?}");
    let expected = format!("GET http://{service}/old host= mark=HTTP/1.0 body=");
    ensure!(answer.ends_with(&expected), "{answer:?}");
    let headers = sidecar.headers();
    ensure!(headers.iter().all(|found| *found == header(port, HTTP2)), "{headers:?}");
    // One for each worker thread at most.
    ensure!(headers.len() <= 2, "{} connections", headers.len());

    drop(sidecar);
    let mut client = Wire::new(mesh.pod("client").connect(service)?);
    let failed = ask(&mut client, "/", "")?;
    ensure!(matches!(failed.head.status(), 502 | 504), "{failed:?}");
    Ok(())
}

fn http2(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("sidecar");
    let server = http2::Server::start(pod.netns(), mesh.unused_port(), |request| {
        Answer::http(200, described(request))
    })?;
    let port = server.port();
    let sidecar = Sidecar::start(mesh, &pod, port)?;
    let service = mesh.service("sidecar").at(port);
    let client = http2::Client::over(mesh.pod("client").connect(service)?)?;
    let response = client.send(http2::get("web.test", "/two"))?;
    ensure!(response.text() == "GET http://web.test/two host= mark= body=", "{response:?}");
    let headers = sidecar.headers();
    ensure!(headers == [header(port, HTTP2)], "{headers:?}");
    Ok(())
}

fn upgrade(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("sidecar");
    let origin = Origin::start(&pod, mesh.unused_port(), |session| {
        let Some(head) = session.head()? else { return Ok(()) };
        ensure!(head.values("l5d-orig-proto").is_empty(), "{head:?}");
        if !head.values("expect").is_empty() {
            session.wire.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            let body = session.wire.array::<4>()?;
            session.wire.send(ok(body))?;
            return Ok(());
        }
        if head.values("upgrade").is_empty() {
            session.wire.send(ok("plain"))?;
            return Ok(());
        }
        session
            .wire
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
        let bytes = session.wire.array::<4>()?;
        session.wire.send(bytes)?;
        Ok(())
    })?;
    let port = origin.port();
    let sidecar = Sidecar::start(mesh, &pod, port)?;
    let mut client = Wire::new(mesh.pod("client").connect(mesh.service("sidecar").at(port))?);
    client.send("GET / HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
    let head = Head::read(&mut client)?;
    ensure!(head.status() == 101, "{head:?}");
    client.send("ping")?;
    ensure!(&client.array()? == b"ping", "the echo differs");
    // The permission to send a body cannot be carried over HTTP/2 either.
    let mut client = Wire::new(mesh.pod("client").connect(mesh.service("sidecar").at(port))?);
    client.send("PUT / HTTP/1.1\r\nHost: web.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")?;
    let head = Head::read(&mut client)?;
    ensure!(head.status() == 100, "{head:?}");
    client.send("body")?;
    let response = Message::response(&mut client, To::Other)?;
    ensure!(response.text() == "body", "{response:?}");
    ensure!(sidecar.headers().iter().all(|found| *found == header(port, HTTP1)), "{:?}", sidecar.headers());
    origin.no_failures()
}

fn opaque(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("sidecar");
    let server = pod.serve(mesh.unused_port(), backends::echo())?;
    let sidecar = Sidecar::start(mesh, &pod, server.port())?;
    let mut client = mesh.pod("client").connect(mesh.service("sidecar").at(server.port()))?;
    client.write_all(b"\x01\x02not HTTP\n")?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).context("the answer")?;
    ensure!(answer == b"\x01\x02not HTTP\n", "{answer:?}");
    ensure!(sidecar.headers() == [header(server.port(), None)], "{:?}", sidecar.headers());
    Ok(())
}
