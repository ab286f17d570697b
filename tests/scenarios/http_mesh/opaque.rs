//! Ports whose protocol is declared: opaque in three ways, or HTTP.

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http::{Origin, Wire},
    http2::{self, Answer},
    mesh::{Description, Mesh, mesh, server},
};

use super::ways::{ask, declaring, ok, only_l5d, servers};

/// The ports of all servers: for HTTP/1 and for HTTP/2.
const PORTS: [u16; 2] = [8050, 8051];

/// The ways to declare a port opaque, and the nodes of the servers: `near` is that of the client.
const OPAQUE: [&str; 6] =
    ["annotated-near", "annotated-far", "protocol-near", "protocol-far", "server-near", "server-far"];
const DECLARED: [&str; 2] = ["declared-near", "declared-far"];

fn node(pod: &str) -> &'static str {
    if pod.ends_with("near") { "a" } else { "b" }
}

pub(super) fn description() -> Description {
    let mut cluster = mesh("http-opaque")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("plain-client", |pod| pod.node("a").unmeshed());
    let opaque_ports = PORTS.map(|port| port.to_string()).join(",");
    for name in OPAQUE {
        let (way, node) = (name.split('-').next().unwrap_or_default(), node(name));
        match way {
            "annotated" => {
                cluster = cluster
                    .pod(name, |pod| {
                        pod.node(node).meshed().annotate("config.linkerd.io/opaque-ports", &opaque_ports)
                    })
                    .service(name, |service| {
                        let service = service.annotate("config.linkerd.io/opaque-ports", &opaque_ports);
                        PORTS.into_iter().fold(service, |service, port| service.port(port, port))
                    });
            }
            "protocol" => {
                cluster = cluster
                    .pod(name, |pod| pod.node(node).meshed())
                    .file(&format!("service-{name}.yaml"), &opaque_service(name));
            }
            _ => {
                cluster = servers(cluster, &[(name, node)]);
                for port in PORTS {
                    let resource = server(&format!("{name}-{port}"), name, port, "all-unauthenticated");
                    cluster = cluster.file(
                        &format!("server-{name}-{port}.yaml"),
                        &(resource + "  proxyProtocol: opaque\n"),
                    );
                }
            }
        }
    }
    for name in DECLARED {
        cluster = servers(cluster, &[(name, node(name))]);
        for (port, protocol) in PORTS.into_iter().zip(["HTTP/1", "HTTP/2"]) {
            let resource = server(&format!("{name}-{port}"), name, port, "all-unauthenticated");
            let text = format!("{resource}  proxyProtocol: {protocol}\n");
            cluster = cluster.file(&format!("server-{name}-{port}.yaml"), &text);
        }
    }
    cluster
}

fn opaque_service(name: &str) -> String {
    declaring(name, PORTS.map(|port| (port, "linkerd.io/opaque")))
}

pub(super) fn nothing_is_interpreted(mesh: &Mesh) -> Result<()> {
    for name in OPAQUE {
        opaque(mesh, name).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn opaque(mesh: &Mesh, name: &str) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod(name));
    let origin = Origin::answering(&pod, PORTS[0], |request| ok(request.head.target()))?;
    let (source, destination) = (mesh.proxy("a").watch()?, mesh.proxy(node(name)).watch()?);
    let forged = "l5d-client-id: mine\r\nl5d-Remote-Ip: 1.2.3.4\r\n";
    let mut wire = Wire::new(client.connect(mesh.service(name).at(PORTS[0]))?);
    for _ in 0..2 {
        ensure!(ask(&mut wire, "/opaque", forged)?.text() == "/opaque", "another response");
    }
    let _server = http2::Server::start(pod.netns(), PORTS[1], |request| {
        Answer::http(200, request.header("l5d-client-id"))
    })?;
    let mut request = http2::get("origin.test", "/");
    request.headers_mut().insert("l5d-client-id", "mine".parse()?);
    let client = http2::Client::over(client.connect(mesh.service(name).at(PORTS[1]))?)?;
    ensure!(client.send(request)?.text() == "mine", "the header of HTTP/2 has changed");
    let requests = origin.requests();
    for request in &requests {
        only_l5d(&request.head, &[("l5d-client-id", "mine"), ("l5d-remote-ip", "1.2.3.4")])?;
    }
    ensure!(requests.len() == 2, "{} requests arrived", requests.len());
    drop((wire, client));
    // The connections are counted, and no request. A Server says nothing to the source.
    source.expect_some("tcp_close_total", &[("direction", "outbound"), ("pod", "client")])?;
    if !name.starts_with("server") {
        source.expect("request_total", &[("direction", "outbound")], 0.0)?;
    }
    if name != "server-near" {
        destination.expect("request_total", &[("direction", "inbound")], 0.0)?;
    }
    origin.no_failures()
}

pub(super) fn declared(mesh: &Mesh) -> Result<()> {
    for name in DECLARED {
        let pod = mesh.pod(name);
        let destination = mesh.proxy(node(name)).watch()?;
        let origin = Origin::answering(&pod, PORTS[0], |request| ok(request.head.target()))?;
        let _server = http2::Server::start(pod.netns(), PORTS[1], |request| {
            Answer::http(200, request.header("l5d-client-id"))
        })?;
        for client in ["client", "plain-client"] {
            let client = mesh.pod(client);
            let own = if client.name() == "client" { client.identity() } else { String::new() };
            let mut wire = Wire::new(client.connect(mesh.service(name).at(PORTS[0]))?);
            ask(&mut wire, "/declared", "l5d-client-id: forged\r\n")?;
            let client = http2::Client::over(client.connect(mesh.service(name).at(PORTS[1]))?)?;
            ensure!(client.send(http2::get("origin.test", "/"))?.text() == own, "another identity");
        }
        for (port, name) in PORTS.into_iter().zip([name, name]) {
            let port = port.to_string();
            let labels =
                [("direction", "inbound"), ("pod", name), ("srv_port", &port), ("srv_kind", "server")];
            destination.expect("request_total", &labels, 2.0)?;
        }
        let ids: Vec<_> =
            origin.requests().iter().map(|request| request.head.values("l5d-client-id").join(",")).collect();
        ensure!(ids == [mesh.pod("client").identity(), String::new()], "{ids:?}");
    }
    Ok(())
}
