//! Authorizations: a ServerAuthorization or AuthorizationPolicy lets in the clients that it should, and no others.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Server},
    http::{Origin, Wire},
    mesh::{Description, Mesh, NAMESPACE, mesh, server},
    suite::Area,
    wait,
};

use super::say;
use crate::http_mesh::{ask, ok, until_status};

pub(crate) fn area() -> Area {
    Area::new("policy_authorizations", guarded)
        .scenario(
            "by_identity",
            "A ServerAuthorization lets in the identities and service accounts that it lists, from both nodes, over \
             TCP and HTTP, and the metrics name it.",
            by_identity,
        )
        .scenario(
            "by_network",
            "A ServerAuthorization for networks lets in their clients without an identity, but not those of the parts \
             that it excepts.",
            by_network,
        )
        .scenario(
            "by_wildcard",
            "*.NAMESPACE.serviceaccount… lets in all service accounts of that namespace; the end of another name does \
             not.",
            by_wildcard,
        )
        .scenario(
            "all_authentications",
            "An AuthorizationPolicy for a Server lets in a client only if its identity and its network are \
             authenticated.",
            all_authentications,
        )
        .scenario(
            "of_the_namespace",
            "An AuthorizationPolicy for the Namespace applies to each of its Servers, and ends with its removal.",
            of_the_namespace,
        )
        .scenario(
            "changes_of_connections",
            "When an authorization stops naming a client, its open connections end, on both nodes; those of others go \
             on, and a client that it now names is let in.",
            changes_of_connections,
        )
        .scenario(
            "changes_of_requests",
            "When an authorization stops naming a client, its next request on an open connection is refused, and is \
             let in when it names it again.",
            changes_of_requests,
        )
}

/// In the order of the expectations. The first and the third are on the other node, the second on the server's.
const CLIENTS: [&str; 4] = ["far", "near", "other", "plain"];

/// A server that denies everybody, and clients with and without an identity.
fn guarded() -> Description {
    mesh("authorizations")
        .pod("guarded", |pod| pod.node("b").meshed().policy("deny"))
        .pod("far", |pod| pod.node("a").meshed())
        .pod("near", |pod| pod.node("b").meshed())
        .pod("other", |pod| pod.node("a").meshed())
        .pod("plain", |pod| pod.node("a").unmeshed())
}

/// The objects of one port, with the name of the authorization.
struct Objects<'a> {
    mesh: &'a Mesh,
    port: u16,
}

impl<'a> Objects<'a> {
    /// A Server that denies everybody.
    fn new(mesh: &'a Mesh, protocol: &str) -> Result<Self> {
        let this = Self { mesh, port: mesh.unused_port() };
        let server = server(&this.name(), "guarded", this.port, "deny");
        mesh.write(&this.file("server"), &format!("{server}  proxyProtocol: {protocol}\n"))?;
        Ok(this)
    }

    /// The name of all its objects.
    fn name(&self) -> String {
        format!("guarded-{}", self.port)
    }

    fn file(&self, kind: &str) -> String {
        format!("{kind}-{}.yaml", self.name())
    }

    fn write(&self, version: &str, kind: &str, spec: &str) -> Result<()> {
        let name = self.name();
        self.mesh.write(
            &self.file(&kind.to_lowercase()),
            &format!(
                "apiVersion: policy.linkerd.io/{version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: \
                 {NAMESPACE}\nspec:\n{spec}"
            ),
        )
    }

    fn server_authorization(&self, client: &str) -> Result<()> {
        let spec = format!("  server: {{name: {}}}\n  client: {client}\n", self.name());
        self.write("v1beta1", "ServerAuthorization", &spec)
    }

    /// One that names service accounts of the namespace.
    fn admit(&self, accounts: &[&str]) -> Result<()> {
        let names: Vec<_> = accounts.iter().map(|name| format!("{{name: {name}}}")).collect();
        self.server_authorization(&format!("{{meshTLS: {{serviceAccounts: [{}]}}}}", names.join(", ")))
    }

    fn target(&self) -> SocketAddr {
        self.mesh.pod("guarded").at(self.port)
    }
}

/// The address range of node `a`, and that of one pod in it.
fn networks(mesh: &Mesh) -> String {
    format!("{{cidr: 10.244.1.0/24, except: [{}/32]}}", mesh.pod("other").v4)
}

/// Declares objects for a port of TCP and one of HTTP, and checks which clients are let in.
fn holds(
    mesh: &Mesh,
    kind: &str,
    declare: impl Fn(&Objects<'_>) -> Result<()>,
    admitted: [bool; 4],
) -> Result<()> {
    for family in ["tcp", "http"] {
        let objects = Objects::new(mesh, "unknown")?;
        let pod = mesh.pod("guarded");
        let (mut echo, mut origin) = (None, None);
        match family {
            "tcp" => echo = Some(pod.serve(objects.port, backends::echo())?),
            _ => origin = Some(Origin::answering(&pod, objects.port, |request| ok(request.head.target()))?),
        }
        declare(&objects)?;
        let first = CLIENTS.iter().zip(admitted).find(|(_, admitted)| *admitted).context("nobody")?.0;
        wait::until_ok("the authorization is in force", || attempt(mesh, first, family, objects.target()))?;

        let proxy = mesh.proxy("b").watch()?;
        for (client, admitted) in CLIENTS.into_iter().zip(admitted) {
            let result = wait::promptly("the decision", || attempt(mesh, client, family, objects.target()))?;
            ensure!(result.is_ok() == admitted, "{client} over {family}: {result:?}");
        }
        let (name, port) = (objects.name(), objects.port.to_string());
        let by = [("pod", "guarded"), ("target_port", port.as_str())];
        let by_name = [by[0], by[1], ("authz_kind", kind), ("authz_name", name.as_str())];
        let count = |expected: bool| admitted.iter().filter(|admitted| **admitted == expected).count() as f64;
        let (allow, deny) =
            (format!("inbound_{family}_authz_allow_total"), format!("inbound_{family}_authz_deny_total"));
        proxy.expect(&allow, &by_name, count(true))?;
        // A meshed client on the server's node, and one that speaks no HTTP, may try again.
        proxy.eventually(|now| {
            now.expect(&allow, &by, count(true))?;
            if count(false) > 0.0 { now.expect_some(&deny, &by) } else { now.expect(&deny, &by, 0.0) }
        })?;
        echo.map_or(Ok(()), |echo: Server| echo.no_failures())?;
        origin.map_or(Ok(()), |origin: Origin| origin.no_failures())?;
    }
    Ok(())
}

fn attempt(mesh: &Mesh, client: &str, family: &str, target: SocketAddr) -> Result<()> {
    let stream = mesh.pod(client).connect(target)?;
    if family == "tcp" {
        return say(stream);
    }
    let answer = ask(&mut Wire::new(stream), "/", "")?;
    ensure!(answer.head.status() == 200, "{answer:?}");
    Ok(())
}

fn by_identity(mesh: &Mesh) -> Result<()> {
    let identity = mesh.pod("far").identity();
    let client = format!("{{meshTLS: {{identities: [\"{identity}\"], serviceAccounts: [{{name: near}}]}}}}");
    let declare = |objects: &Objects<'_>| objects.server_authorization(&client);
    holds(mesh, "serverauthorization", declare, [true, true, false, false])
}

fn by_network(mesh: &Mesh) -> Result<()> {
    let client = format!("{{unauthenticated: true, networks: [{}]}}", networks(mesh));
    let declare = |objects: &Objects<'_>| objects.server_authorization(&client);
    holds(mesh, "serverauthorization", declare, [true, false, false, true])
}

fn by_wildcard(mesh: &Mesh) -> Result<()> {
    let end = "serviceaccount.identity.linkerd.cluster.local";
    for (identities, admitted) in [
        (format!("\"*.{NAMESPACE}.{end}\""), [true, true, true, false]),
        (
            // `test` does not end with `.est`.
            format!("\"*.{}.{end}\", \"{}\"", &NAMESPACE[1..], mesh.pod("other").identity()),
            [false, false, true, false],
        ),
    ] {
        let client = format!("{{meshTLS: {{identities: [{identities}]}}}}");
        let declare = |objects: &Objects<'_>| objects.server_authorization(&client);
        holds(mesh, "serverauthorization", declare, admitted)?;
    }
    Ok(())
}

/// Writes an AuthorizationPolicy for `far` and `near`, from node `a`'s network without `other`.
fn both_authentications(objects: &Objects<'_>, target: &str) -> Result<()> {
    let name = objects.name();
    let accounts = "[{kind: ServiceAccount, name: far}, {kind: ServiceAccount, name: near}]";
    objects.write("v1alpha1", "MeshTLSAuthentication", &format!("  identityRefs: {accounts}\n"))?;
    let networks = networks(objects.mesh);
    objects.write("v1alpha1", "NetworkAuthentication", &format!("  networks: [{networks}]\n"))?;
    let reference = |kind: &str| format!("{{group: policy.linkerd.io, kind: {kind}, name: {name}}}");
    let required =
        format!("[{}, {}]", reference("MeshTLSAuthentication"), reference("NetworkAuthentication"));
    let spec = format!("  targetRef: {target}\n  requiredAuthenticationRefs: {required}\n");
    objects.write("v1alpha1", "AuthorizationPolicy", &spec)
}

fn all_authentications(mesh: &Mesh) -> Result<()> {
    let declare = |objects: &Objects<'_>| {
        let target = format!("{{group: policy.linkerd.io, kind: Server, name: {}}}", objects.name());
        both_authentications(objects, &target)
    };
    holds(mesh, "authorizationpolicy", declare, [true, false, false, false])
}

fn of_the_namespace(mesh: &Mesh) -> Result<()> {
    let (one, two) = (Objects::new(mesh, "unknown")?, Objects::new(mesh, "unknown")?);
    let pod = mesh.pod("guarded");
    let servers = [pod.serve(one.port, backends::echo())?, pod.serve(two.port, backends::echo())?];
    both_authentications(&one, &format!("{{kind: Namespace, name: {NAMESPACE}}}"))?;
    for objects in [&one, &two] {
        wait::until_ok("far is let in", || attempt(mesh, "far", "tcp", objects.target()))?;
        for client in ["near", "other", "plain"] {
            let result = attempt(mesh, client, "tcp", objects.target());
            ensure!(result.is_err(), "{client} was let in to {}", objects.port);
        }
    }
    mesh.remove(&one.file("authorizationpolicy"))?;
    for objects in [&one, &two] {
        wait::until("far is refused", || attempt(mesh, "far", "tcp", objects.target()).is_err())?;
    }
    servers.iter().try_for_each(Server::no_failures)
}

fn talk(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"\x00still there?")?;
    let mut answer = [0; 13];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"\x00still there?", "{answer:?}");
    Ok(())
}

/// Connects as soon as the client is let in.
fn connected(objects: &Objects<'_>, client: &str) -> Result<TcpStream> {
    wait::until_ok(&format!("{client} is let in"), || {
        let mut stream = objects.mesh.pod(client).connect(objects.target())?;
        talk(&mut stream)?;
        Ok(stream)
    })
}

fn ended(stream: &mut TcpStream) -> Result<()> {
    let end = wait::promptly("the end of the connection", || stream.read(&mut [0]))?;
    ensure!(!matches!(end, Ok(1..)), "{end:?}");
    Ok(())
}

fn changes_of_connections(mesh: &Mesh) -> Result<()> {
    let objects = Objects::new(mesh, "opaque")?;
    let _server = mesh.pod("guarded").serve(objects.port, backends::echo())?;
    objects.admit(&["far", "near"])?;
    let (mut far, mut near) = (connected(&objects, "far")?, connected(&objects, "near")?);
    let proxy = mesh.proxy("b").watch()?;
    objects.admit(&["far"])?;
    ended(&mut near)?;
    talk(&mut far).context("the connection of a client that is still let in")?;
    let name = objects.name();
    let terminated = [("pod", "guarded"), ("srv_name", name.as_str())];
    proxy.expect("inbound_tcp_authz_terminate_total", &terminated, 1.0)?;
    ensure!(attempt(mesh, "near", "tcp", objects.target()).is_err(), "near was let in");
    objects.admit(&["near"])?;
    ended(&mut far)?;
    connected(&objects, "near")?;
    ensure!(attempt(mesh, "far", "tcp", objects.target()).is_err(), "far was let in");
    Ok(())
}

fn changes_of_requests(mesh: &Mesh) -> Result<()> {
    let objects = Objects::new(mesh, "unknown")?;
    let origin = Origin::answering(&mesh.pod("guarded"), objects.port, |request| ok(request.head.target()))?;
    for client in ["far", "near"] {
        let mut wire = Wire::new(mesh.pod(client).connect(objects.target())?);
        ensure!(ask(&mut wire, "/", "")?.head.status() == 403, "{client} is not refused at first");
        for (admitted, before, after) in [([client], 403, 200), (["other"], 200, 403), ([client], 403, 200)] {
            objects.admit(&admitted)?;
            until_status(&mut wire, before, after).with_context(|| client.to_owned())?;
        }
        mesh.remove(&objects.file("serverauthorization"))?;
        until_status(&mut wire, 200, 403)?;
    }
    origin.no_failures()
}
