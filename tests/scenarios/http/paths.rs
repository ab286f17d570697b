//! The cluster of HTTP scenarios, and the ways from a client to a server.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{Behaviour, Server},
    http::{Head, Message, Origin, Session, Wire},
    mesh::{Description, Mesh, Pod, mesh},
};

/// The ports of every service of [`cluster`], which are also the target ports.
const PORTS: std::ops::Range<u16> = 8000..8100;

/// A meshed client with a server on its own node (near) and one on another (far), and the same without a mesh.
pub(crate) fn cluster() -> Description {
    let pods = [("client", "a", true), ("near", "a", true), ("far", "b", true)];
    let plain = [("plain-client", "a", false), ("plain-far", "b", false)];
    let mut cluster = mesh("http");
    for (name, node, meshed) in pods.into_iter().chain(plain) {
        cluster = cluster
            .pod(name, |pod| if meshed { pod.node(node).meshed() } else { pod.node(node).unmeshed() })
            .service(name, |service| PORTS.fold(service, |service, port| service.port(port, port)));
    }
    cluster
}

/// A client, a server, and whether weft is between them.
pub(crate) struct Path<'a> {
    mesh: &'a Mesh,
    pub(crate) client: Pod<'a>,
    pub(crate) server: Pod<'a>,
    meshed: bool,
}

/// Runs `check` without the mesh, to the other node, and on one node. Fails unless the requests of the last two
/// went through weft.
pub(crate) fn each_path(mesh: &Mesh, mut check: impl FnMut(&Path<'_>) -> Result<()>) -> Result<()> {
    let path = Path::new(mesh, "plain-client", "plain-far", false);
    check(&path).context("without the mesh")?;
    each_meshed_path(mesh, check)
}

/// [`each_path`] for scenarios that say nothing without the mesh.
pub(crate) fn each_meshed_path(mesh: &Mesh, mut check: impl FnMut(&Path<'_>) -> Result<()>) -> Result<()> {
    for (place, tls) in [("far", "true"), ("near", "local")] {
        let proxy = mesh.proxy("a").watch()?;
        check(&Path::new(mesh, "client", place, true)).with_context(|| format!("the {place} server"))?;
        // Opaque bytes would arrive just as well: the requests must have been counted as such.
        let labels = [("direction", "outbound"), ("pod", "client"), ("tls", tls), ("dst_pod", place)];
        proxy.expect_some("request_total", &labels)?;
    }
    Ok(())
}

impl<'a> Path<'a> {
    fn new(mesh: &'a Mesh, client: &str, server: &str, meshed: bool) -> Self {
        Self { mesh, client: mesh.pod(client), server: mesh.pod(server), meshed }
    }

    /// Whether weft is between client and server.
    pub(crate) fn meshed(&self) -> bool {
        self.meshed
    }

    /// A port that no other scenario of this cluster uses.
    pub(crate) fn unused_port(&self) -> u16 {
        self.mesh.unused_port()
    }

    /// An origin whose script serves one connection.
    pub(crate) fn origin(
        &self,
        script: impl Fn(&mut Session) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Origin> {
        Origin::start(&self.server, self.unused_port(), script)
    }

    /// An origin that answers every request.
    pub(crate) fn answering(
        &self,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Origin> {
        Origin::answering(&self.server, self.unused_port(), answer)
    }

    /// A server that need not speak HTTP.
    pub(crate) fn serve(&self, behaviour: Behaviour) -> Result<Server> {
        self.server.serve(self.unused_port(), behaviour)
    }

    /// Connects the client to the server's service.
    pub(crate) fn connect(&self, origin: &Origin) -> Result<Wire> {
        Ok(Wire::new(self.client.connect(self.service(origin.port()))?))
    }

    /// Connects the client to the server itself, for scenarios with more ports than its service has.
    pub(crate) fn connect_directly(&self, port: u16) -> Result<Wire> {
        Ok(Wire::new(self.client.connect(self.server.at(port))?))
    }

    /// A port of the server's service.
    pub(crate) fn service(&self, port: u16) -> SocketAddr {
        self.mesh.service(self.server.name()).at(port)
    }

    /// The server's name and port, as a Host field has it.
    pub(crate) fn host(&self, port: u16) -> String {
        format!("{}.test:{port}", self.server.name())
    }

    pub(crate) fn url(&self, port: u16, path: &str) -> String {
        format!("http://{}{path}", self.host(port))
    }

    /// Whether this is an address of the client.
    pub(crate) fn is_client(&self, address: &str) -> bool {
        let own = [self.client.v4.to_string(), self.client.v6.to_string()];
        own.iter().any(|own| address.trim_start_matches("::ffff:") == own)
    }

    /// The head of a request without `l5d-client-id`, which weft sets for the application. It must be the client's
    /// identity, and nothing else may set it.
    pub(crate) fn without_identity(&self, mut head: Head) -> Result<Head> {
        let own = self.client.identity();
        for id in head.values("l5d-client-id") {
            ensure!(self.meshed && id == own, "l5d-client-id is {id:?}, and the client is {own}");
        }
        head.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("l5d-client-id"));
        Ok(head)
    }
}

/// A response with a body, on a connection that is kept.
pub(crate) fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// RFC 9110 tells a recipient to add Date where it is missing, so scripts always send it.
pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
