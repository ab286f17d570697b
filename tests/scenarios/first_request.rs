//! One request through the mesh. This is the model of a scenario: read it first.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use weft_tests::{
    backends::echo,
    mesh::{Description, Mesh, mesh},
    suite::Area,
};

pub(crate) fn area() -> Area {
    Area::new("first_request", two_pods).scenario(
        "crosses_the_nodes_by_mtls",
        "A connection to a service's address reaches a pod of another node by mTLS, and each node's proxy knows the \
         other's workload by its certificate.",
        crosses_the_nodes_by_mtls,
    )
}

/// Two meshed pods on two nodes, and a service in front of one of them. The server's pod accepts only clients that
/// prove an identity.
fn two_pods() -> Description {
    mesh("first-request")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .service("web", |service| service.port(80, 8080))
}

fn crosses_the_nodes_by_mtls(mesh: &Mesh) -> Result<()> {
    // Each pod's applications are threads of this process whose sockets live in the pod's network namespace. They
    // do not know about the mesh: plain sockets, plain bytes.
    let server = mesh.pod("web").serve(8080, echo())?;
    let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy("b").watch()?);

    // The client connects to the service's cluster IP and receives the echo of what it has sent.
    let mut stream = mesh.pod("client").connect(mesh.service("web").at(80))?;
    stream.write_all(b"hello, weft")?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"hello, weft", "the echo is {:?}", String::from_utf8_lossy(&answer));
    drop(stream);
    server.no_failures()?;

    // The source's proxy opened one connection with TLS, to the identity of the workload behind the service.
    let web = mesh.pod("web").identity();
    let to_web = [
        ("direction", "outbound"),
        ("peer", "dst"),
        ("pod", "client"),
        ("tls", "true"),
        ("server_id", &web),
        ("dst_service", "web"),
        ("dst_pod", "web"),
    ];
    source.expect("tcp_open_total", &to_web, 1.0)?;

    // The destination's proxy accepted one, from the identity of the client's workload, and authorized it.
    let client = mesh.pod("client").identity();
    let from_client =
        [("direction", "inbound"), ("peer", "src"), ("pod", "web"), ("tls", "true"), ("client_id", &client)];
    destination.expect("tcp_open_total", &from_client, 1.0)?;
    let authorized = [("pod", "web"), ("tls", "true"), ("client_id", client.as_str())];
    destination.expect("inbound_tcp_authz_allow_total", &authorized, 1.0)?;
    destination.expect("inbound_tcp_authz_deny_total", &[("pod", "web")], 0.0)
}
