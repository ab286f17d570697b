//! Changes that revoke direct pass, and what happens to connections then.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::Plan,
    mesh::{Description, Mesh, NAMESPACE, Watch, mesh, server},
    suite::Area,
    texts::change,
    wait,
};

use super::{OPAQUE, counted, establish_direct_path};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "revoked_by_policy",
        "When a policy stops allowing a client, its next connection is refused and the open one is ended; when the \
         policy allows it again, connections go directly again.",
        pairs,
        revoked_by_policy,
    )
    .alone(
        "revoked_by_authorization",
        "A client that only an authorization lets in connects directly; when the authorization ends, its open \
         connection is ended and the next one is refused.",
        pairs,
        revoked_by_authorization,
    )
    .alone(
        "revoked_by_annotation",
        "config.weft.dev/direct-pass: disabled on the client sends its next connection through the proxy.",
        pairs,
        revoked_by_annotation,
    )
    .alone(
        "revoked_by_endpoints",
        "Connections to a service go directly only while all its endpoints are on the client's node, and then to all \
         of them.",
        pairs,
        revoked_by_endpoints,
    )
    .alone(
        "revoked_by_leaving",
        "Direct pass is revoked when the server leaves the mesh or is deleted, and when the client leaves.",
        pairs,
        revoked_by_leaving,
    )
    .alone(
        "without_a_proxy",
        "Without a proxy, a client that fails closed is refused, although it could connect directly before; its open \
         connection goes on, and a new proxy ends it when the policy changes.",
        pairs,
        without_a_proxy,
    )
    .alone(
        "across_an_upgrade",
        "A second proxy process takes over under a load of direct connections and none fails.",
        pairs,
        across_an_upgrade,
    )
}

pub(super) fn pairs() -> Description {
    let opaque = |pod: weft_tests::mesh::PodSpec| pod.annotate("config.linkerd.io/opaque-ports", OPAQUE);
    mesh("withdrawn")
        .pod("client", |pod| pod.node("a").meshed().fail_mode("closed"))
        .pod("server", |pod| opaque(pod.node("a").meshed().policy("all-authenticated")))
        .pod("choice-1", |pod| opaque(pod.node("a").meshed().app("choice")))
        .service("choice", |service| service.port(80, 9000))
}

pub(super) fn echo(mesh: &Mesh, target: SocketAddr) -> Result<TcpStream> {
    let mut stream = mesh.pod("client").connect(target)?;
    talk(&mut stream)?;
    Ok(stream)
}

pub(super) fn talk(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"hello");
    Ok(())
}

/// Connects until a connection goes directly, and returns that one.
pub(super) fn directly(mesh: &Mesh, target: SocketAddr) -> Result<TcpStream> {
    wait::until_ok("a connection goes directly", || {
        let proxy = mesh.proxy("a").watch()?;
        let stream = echo(mesh, target)?;
        let now = proxy.now()?;
        now.expect("weft_capture_total", &super::hook("connect", "direct"), 1.0)?;
        Ok(stream)
    })
}

fn revoked_by_policy(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("server");
    let server = pod.serve(9000, backends::echo())?;
    let mut old = directly(mesh, pod.at(9000))?;
    let proxy = mesh.proxy("a").watch()?;
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::WITHDRAWN_BY_CONFIG)], 1.0)?;
    let before = server.accepted();
    let proxy = mesh.proxy("a").watch()?;
    ensure!(echo(mesh, pod.at(9000)).is_err(), "the next connection was accepted");
    counted(&proxy, 0.0, 1.0)?;
    ensure!(server.accepted() == before, "the application saw the connection");
    let ended = wait::promptly("the end of the open connection", || old.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    let all = mesh.proxy("a").metrics()?;
    all.expect("inbound_tcp_authz_terminate_total", &[("pod", "server")], 1.0)?;
    all.expect("weft_direct_terminated_total", &[("result", "ended")], 1.0)?;
    mesh.change_pod("server", |pod| pod.policy("all-authenticated"))?;
    directly(mesh, pod.at(9000)).map(drop)
}

fn revoked_by_authorization(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("server");
    let _server = pod.serve(9000, backends::echo())?;
    let objects = |account: &str| {
        let server = server("direct", "server", 9000, "deny") + "  proxyProtocol: opaque\n";
        let authorization = format!(
            "apiVersion: policy.linkerd.io/v1beta1\nkind: ServerAuthorization\nmetadata: {{name: only, namespace: \
             {NAMESPACE}}}\nspec: {{server: {{name: direct}}, client: {{meshTLS: {{serviceAccounts: [{{name: {account}}}]}}}}}}\n"
        );
        mesh.write("policy.yaml", &format!("{server}---\n{authorization}"))
    };
    objects("client")?;
    let named = [("pod", "server"), ("authz_kind", "serverauthorization"), ("authz_name", "only")];
    let mut open = wait::until_ok("a direct connection by the authorization", || {
        let proxy = mesh.proxy("a").watch()?;
        let stream = directly(mesh, pod.at(9000))?;
        proxy.now()?.expect_some("inbound_tcp_authz_allow_total", &named)?;
        Ok(stream)
    })?;
    let proxy = mesh.proxy("a").watch()?;
    objects("nobody")?;
    proxy.expect_some("weft_direct_pass_changes_total", &[("change", change::WITHDRAWN_BY_CONFIG)])?;
    let ended = wait::promptly("the end of the open connection", || open.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    proxy.expect_some("inbound_tcp_authz_terminate_total", &[("pod", "server"), ("srv_name", "direct")])?;
    ensure!(echo(mesh, pod.at(9000)).is_err(), "the next connection was let in");
    Ok(())
}

fn revoked_by_annotation(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("server");
    let server = pod.serve(9000, backends::echo())?;
    let mut old = directly(mesh, pod.at(9000))?;
    let proxy = mesh.proxy("a").watch()?;
    mesh.change_pod("client", |pod| pod.annotate("config.weft.dev/direct-pass", "disabled"))?;
    proxy.expect("weft_direct_pass_changes_total", &[("change", change::WITHDRAWN_BY_CONFIG)], 1.0)?;
    for _ in 0..3 {
        echo(mesh, pod.at(9000))?;
    }
    counted(&proxy, 0.0, 3.0)?;
    talk(&mut old).context("the open connection")?;
    drop(old);
    server.no_failures()
}

/// The name of the pod that answers.
fn choice(mesh: &Mesh) -> Result<String> {
    let mut name = String::new();
    mesh.pod("client").connect(mesh.service("choice").at(80))?.read_to_string(&mut name)?;
    Ok(name)
}

/// The pods that answer `count` connections.
fn choices(mesh: &Mesh, count: usize) -> Result<BTreeSet<String>> {
    (0..count).map(|_| choice(mesh)).collect()
}

fn revoked_by_endpoints(mesh: &Mesh) -> Result<()> {
    let first = mesh.pod("choice-1").serve(9000, backends::name("choice-1"))?;
    let opaque = |pod: weft_tests::mesh::PodSpec| {
        pod.meshed().app("choice").annotate("config.linkerd.io/opaque-ports", OPAQUE)
    };
    let is_direct = |count: usize, expected: &[&str]| {
        let proxy = mesh.proxy("a").watch()?;
        let answers = choices(mesh, count)?;
        ensure!(answers.iter().map(String::as_str).eq(expected.iter().copied()), "{answers:?}");
        proxy.now()?.expect("weft_capture_total", &super::hook("connect", "direct"), count as f64)
    };
    choice(mesh)?;
    wait::until_ok("one endpoint, directly", || is_direct(3, &["choice-1"]))?;

    let far = mesh.add_pod("choice-2", |pod| opaque(pod.node("b")))?;
    let second = far.serve(9000, backends::name("choice-2"))?;
    wait::until("the far endpoint is used", || choice(mesh).is_ok_and(|name| name == "choice-2"))?;
    let proxy = mesh.proxy("a").watch()?;
    choices(mesh, 20)?;
    counted(&proxy, 0.0, 20.0)?;
    second.no_failures()?;

    mesh.remove_pod("choice-2")?;
    wait::until_ok("the one endpoint, directly again", || is_direct(3, &["choice-1"]))?;
    let near = mesh.add_pod("choice-3", |pod| opaque(pod.node("a")))?;
    let third = near.serve(9000, backends::name("choice-3"))?;
    wait::until_ok("both endpoints, directly", || is_direct(40, &["choice-1", "choice-3"]))?;
    mesh.change_pod("choice-1", |pod| pod.app("nobody"))?;
    wait::until_ok("the new endpoint alone, directly", || is_direct(10, &["choice-3"]))?;
    first.no_failures()?;
    third.no_failures()
}

/// Checks that direct pass was revoked once: because a pod has left, or because the control plane announced the change
/// of the destination first.
fn withdrawn(proxy: &Watch) -> Result<()> {
    proxy.eventually(|now| {
        let because = |cause| now.value("weft_direct_pass_changes_total", &[("change", cause)]);
        let (membership, destination) =
            (because(change::WITHDRAWN_BY_MEMBERSHIP), because(change::WITHDRAWN_BY_DESTINATION));
        ensure!(membership + destination == 1.0, "revoked {membership} and {destination} times");
        Ok(())
    })
}

fn revoked_by_leaving(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("server");
    let server = pod.serve(9000, backends::echo())?;
    let target = pod.at(9000);
    let mut old = directly(mesh, target)?;
    let proxy = mesh.proxy("a").watch()?;
    mesh.change_pod("server", |pod| pod.unmeshed())?;
    withdrawn(&proxy)?;
    // Until the server has left completely, its policy applies to a client that has no identity for it any more.
    wait::until_ok("the server is reached without the mesh", || echo(mesh, target))?;
    proxy.now()?.expect("weft_capture_total", &super::hook("connect", "direct"), 0.0)?;
    talk(&mut old)?;
    drop(old);
    server.no_failures()?;

    mesh.change_pod("server", |pod| pod.meshed())?;
    mesh.until_enrolled()?;
    drop(directly(mesh, target)?);
    let proxy = mesh.proxy("a").watch()?;
    mesh.change_pod("client", |pod| pod.unmeshed())?;
    withdrawn(&proxy)?;
    mesh.until_enrolled()?;
    let proxy = mesh.proxy("a").watch()?;
    // Until the client has left completely, its connections go through the proxy, with its identity.
    wait::until("a client without the mesh is refused", || echo(mesh, target).is_err())?;
    proxy.now()?.expect("weft_capture_total", &super::hook("connect", "direct"), 0.0)?;

    mesh.change_pod("client", |pod| pod.meshed())?;
    mesh.until_enrolled()?;
    drop(directly(mesh, target)?);
    drop(server);
    let proxy = mesh.proxy("a").watch()?;
    mesh.remove_pod("server")?;
    withdrawn(&proxy)
}

fn without_a_proxy(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("server");
    let server = pod.serve(9000, backends::echo())?;
    let mut old = directly(mesh, pod.at(9000))?;
    let before = server.accepted();
    mesh.proxy("a").kill()?;
    let refused = wait::promptly("the refusal", || mesh.pod("client").connect(pod.at(9000)))?;
    let refused = refused.map(drop).map_err(|error| error.kind());
    ensure!(refused == Err(ErrorKind::ConnectionRefused), "{refused:?}");
    ensure!(server.accepted() == before, "the application saw the connection");
    talk(&mut old).context("without a proxy")?;

    mesh.proxy("a").revive()?;
    mesh.until_enrolled()?;
    talk(&mut old).context("with a new proxy")?;
    drop(directly(mesh, pod.at(9000))?);
    mesh.change_pod("server", |pod| pod.policy("deny"))?;
    let ended = wait::promptly("the end of the open connection", || old.read(&mut [0]))?;
    ensure!(!matches!(ended, Ok(1..)), "{ended:?}");
    let unknown = [("reason", "unknown")];
    wait::until_ok("its end is counted as unknown", || {
        mesh.proxy("a").metrics()?.expect("weft_direct_untold_total", &unknown, 2.0)
    })
}

fn across_an_upgrade(mesh: &Mesh) -> Result<()> {
    use std::time::Duration;
    use weft_tests::load::{Steady, Style};

    let pod = mesh.pod("server");
    let server = pod.serve(9000, backends::echo())?;
    let service = pod.serve(9001, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(9001))?;
    drop(directly(mesh, pod.at(9000))?);
    let client = mesh.pod("client");
    let load = Steady::start(client.netns(), pod.at(9000), Style::Fresh, 4, Duration::from_millis(1));
    load.keep_on(200)?;
    mesh.proxy("a").take_over()?;
    load.keep_on(200)?;
    wait::until_ok("connections go directly again", || {
        let proxy = mesh.proxy("a").watch()?;
        load.keep_on(20)?;
        proxy.now()?.expect_some("weft_capture_total", &super::hook("connect", "direct"))
    })?;
    load.stop().no_failures()?;
    Plan::random(1000).run(&client.connect(pod.at(9001))?)?;
    service.no_failures()?;
    server.no_failures()
}
