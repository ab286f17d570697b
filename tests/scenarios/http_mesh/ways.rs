//! The usual cluster, and the ways of a request through it: to another node, and within one.

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::Behaviour,
    backends::Server,
    http::{Head, Message, Origin, To, Wire},
    http2,
    mesh::{Description, Mesh, NAMESPACE, Pod, mesh, server},
    wait,
};

/// The ports of every service of [`cluster`], which are also the target ports.
const PORTS: std::ops::Range<u16> = 8000..8060;

/// Clients on node `a`, one of them not meshed, and servers on their own node (near) and on the other (far).
pub(crate) fn cluster() -> Description {
    servers(mesh("http-mesh"), &[("near", "a"), ("far", "b")])
        .pod("client", |pod| pod.node("a").meshed())
        .pod("plain-client", |pod| pod.node("a").unmeshed())
}

/// Adds meshed pods, each with a service of its name.
pub(crate) fn servers(cluster: Description, pods: &[(&'static str, &'static str)]) -> Description {
    pods.iter().fold(cluster, |cluster, (name, node)| {
        cluster.pod(name, |pod| pod.node(node).meshed()).service(name, all_ports)
    })
}

/// The manifest of a pod's service whose ports declare an `appProtocol`, or an empty one.
pub(crate) fn declaring<'a>(name: &str, ports: impl IntoIterator<Item = (u16, &'a str)>) -> String {
    let port = |(port, declared): (u16, &str)| {
        let declared = if declared.is_empty() { "" } else { &format!("      appProtocol: {declared}\n") };
        format!("    - name: p{port}\n      port: {port}\n      targetPort: {port}\n{declared}")
    };
    let ports: String = ports.into_iter().map(port).collect();
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  ipFamilyPolicy: PreferDualStack
  selector:
    app: {name}
  ports:
{ports}"
    )
}

/// A service that forwards every port of scenarios.
pub(crate) fn all_ports(service: weft_tests::mesh::ServiceSpec) -> weft_tests::mesh::ServiceSpec {
    PORTS.fold(service, |service, port| service.port(port, port))
}

/// A client and a server.
pub(crate) struct Way<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) client: Pod<'a>,
    pub(crate) server: Pod<'a>,
    /// The node of the server.
    pub(crate) node: &'static str,
    /// The label `tls` between the two.
    pub(crate) tls: &'static str,
}

/// Runs `check` to another node, and within one.
pub(crate) fn each_way(mesh: &Mesh, mut check: impl FnMut(&Way<'_>) -> Result<()>) -> Result<()> {
    for (server, node, tls) in [("far", "b", "true"), ("near", "a", "local")] {
        let way = Way { mesh, client: mesh.pod("client"), server: mesh.pod(server), node, tls };
        check(&way).with_context(|| format!("the {server} server"))?;
    }
    Ok(())
}

impl Way<'_> {
    /// An origin of HTTP/1 that answers every request.
    pub(crate) fn answering(
        &self,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Origin> {
        Origin::answering(&self.server, self.mesh.unused_port(), answer)
    }

    /// A server of HTTP/2.
    pub(crate) fn http2(
        &self,
        answer: impl Fn(&http2::Received) -> http2::Answer + Send + Sync + 'static,
    ) -> Result<http2::Server> {
        http2::Server::start(self.server.netns(), self.mesh.unused_port(), answer)
    }

    /// A server that need not speak HTTP.
    pub(crate) fn serve(&self, behaviour: Behaviour) -> Result<Server> {
        self.server.serve(self.mesh.unused_port(), behaviour)
    }

    /// Connects the client to the server's service.
    pub(crate) fn connect(&self, port: u16) -> Result<Wire> {
        self.connect_from(&self.client, port)
    }

    /// Connects another client.
    pub(crate) fn connect_from(&self, client: &Pod<'_>, port: u16) -> Result<Wire> {
        Ok(Wire::new(client.connect(self.mesh.service(self.server.name()).at(port))?))
    }

    /// Connects the client by HTTP/2.
    pub(crate) fn connect2(&self, port: u16) -> Result<http2::Client> {
        http2::Client::over(self.client.connect(self.mesh.service(self.server.name()).at(port))?)
    }

    /// The server's name and port.
    pub(crate) fn host(&self, port: u16) -> String {
        format!("{}.test:{port}", self.server.name())
    }

    /// Sets the policy of one port by a Server, without waiting.
    pub(crate) fn set_policy(&self, port: u16, policy: &str) -> Result<()> {
        let (pod, name) = (self.server.name(), self.server_resource(port));
        self.mesh.write(&format!("server-{name}.yaml"), &server(&name, pod, port, policy))
    }

    /// The name of the Server of [`Self::set_policy`].
    pub(crate) fn server_resource(&self, port: u16) -> String {
        format!("{}-{port}", self.server.name())
    }
}

/// Sends a request without a body on a connection that is kept, and reads the response.
pub(crate) fn ask(wire: &mut Wire, path: &str, fields: &str) -> Result<Message> {
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: origin.test\r\n{fields}\r\n"))?;
    Message::final_response(wire, To::Other)
}

/// Repeats a request on one connection until it is answered with `status`. Returns the last response, and how many there
/// were. Every response before it must have the status `before`.
pub(crate) fn until_status(wire: &mut Wire, before: u16, status: u16) -> Result<(Message, u32)> {
    let mut count = 0;
    wait::until_ok("the policy is in force", || {
        let response = ask(wire, "/policy", "")?;
        count += 1;
        let found = response.head.status();
        ensure!(found == status, "{found} instead of {status}: {response:?}");
        Ok((response, count))
    })
    .with_context(|| format!("from {before} to {status}"))
}

/// Fails unless a head has exactly these `l5d-` fields.
pub(crate) fn only_l5d(head: &Head, expected: &[(&str, &str)]) -> Result<()> {
    let found: Vec<_> = head
        .fields
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with("l5d-"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ensure!(found == expected, "the origin received {found:?}, not {expected:?}");
    Ok(())
}

/// A response with a body, on a connection that is kept.
pub(crate) fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    status(200, body)
}

/// A response with any status.
pub(crate) fn status(code: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("HTTP/1.1 {code} Some\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}
