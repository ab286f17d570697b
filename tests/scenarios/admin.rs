//! The admin pages and logs of a proxy.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use weft_tests::{
    attack::{Authority, Client},
    backends, dial,
    mesh::{Description, Mesh, mesh},
    metrics::{get, request},
    suite::Area,
};

pub(crate) fn area() -> Area {
    Area::new("admin", two_pods)
        .scenario(
            "pages",
            "A running proxy is live and ready, shows its configuration and no secrets.",
            pages,
        )
        .scenario(
            "certificates",
            "/certificates.json has the certificates that a pod's peers are shown in a handshake, and no private key.",
            certificates,
        )
        .scenario(
            "log_level_changes_at_run_time",
            "PUT /proxy-log-level makes a running proxy log more, or less.",
            log_level_changes_at_run_time,
        )
        .alone(
            "json_logs",
            "With --log-format=json every line is an object, and a refusal names both ends and the reason.",
            with_json_logs,
            json_logs,
        )
}

fn two_pods() -> Description {
    mesh("admin")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("plain", |pod| pod.node("a").unmeshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
}

fn with_json_logs() -> Description {
    two_pods().proxy_arg("--log-format=json")
}

fn pages(mesh: &Mesh) -> Result<()> {
    let admin = mesh.proxy("b").admin()?;
    ensure!(get(admin, "/live")?.trim() == "live");
    ensure!(get(admin, "/ready")?.trim() == "ready");
    let environment: serde_json::Value =
        serde_json::from_str(&get(admin, "/env.json")?).context("/env.json")?;
    ensure!(environment.is_object(), "/env.json is {environment}");
    let metrics = mesh.proxy("b").metrics()?;
    metrics.expect_some("proxy_build_info", &[])?;
    metrics.expect_some("process_resident_memory_bytes", &[])?;

    let token = std::fs::read_to_string(mesh.control().state("tokens/b"))?;
    for path in ["/config", "/env.json", "/metrics"] {
        ensure!(!get(admin, path)?.contains(token.trim()), "{path} shows the node's token");
    }
    ensure!(request(admin, "GET", "/nothing", "")?.0 == 404);
    Ok(())
}

fn certificates(mesh: &Mesh) -> Result<()> {
    let web = mesh.pod("web");
    let server = web.serve(mesh.unused_port(), backends::echo())?;
    let client = Client::new(mesh.pod("plain").netns(), web.at(server.port()), &web.identity());
    let own = Authority::of_mesh(&mesh.control().state(""))?.leaf(&mesh.pod("client").identity())?;
    let mut tls = client.begin(Some(own))?;
    let mut stream = dial::from(&client.netns, client.target)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).context("the handshake")?;
    }
    let shown = tls.peer_certificates().context("the proxy shows no certificate")?;

    let text = get(mesh.proxy("b").admin()?, "/certificates.json")?;
    ensure!(!text.contains("PRIVATE"), "there is a private key on the page");
    let page: serde_json::Value = serde_json::from_str(&text).context("/certificates.json")?;
    let workloads = page["workloads"].as_object().context("no workloads")?;
    ensure!(workloads.len() == 1, "only web is on this node: {page}");
    let (name, workload) = workloads.iter().next().context("no workload")?;
    ensure!(name.ends_with("/web") && workload["identity"] == web.identity(), "{page}");
    let listed = workload["certificates"].as_array().context("no certificates")?;
    let listed: Vec<_> = listed
        .iter()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_str().unwrap_or_default().as_bytes()))
        .collect::<Result<_, _>>()
        .context("a certificate of the page")?;
    ensure!(listed == shown, "the page lists other certificates than the handshake shows");
    Ok(())
}

/// One connection that is served.
fn talk(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(mesh.unused_port(), backends::echo())?;
    let mut stream = mesh.pod("client").connect(mesh.pod("web").at(server.port()))?;
    stream.write_all(b"?")?;
    Ok(stream.read_exact(&mut [0])?)
}

fn log_level_changes_at_run_time(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("b");
    let set = |level: &str| -> Result<()> {
        let (status, said) = request(proxy.admin()?, "PUT", "/proxy-log-level", level)?;
        ensure!(status / 100 == 2, "{status}: {said}");
        Ok(())
    };
    let before = get(proxy.admin()?, "/proxy-log-level")?;
    set("weft_proxy=debug")?;
    talk(mesh)?;
    proxy.log().expect_line(&["DEBUG"])?;
    set(before.trim())?;
    proxy.log().mark();
    talk(mesh)?;
    ensure!(proxy.log().line_with(&["DEBUG"]).is_none(), "it still logs DEBUG lines");
    ensure!(request(proxy.admin()?, "PUT", "/proxy-log-level", "=no=level=")?.0 == 400);
    Ok(())
}

fn json_logs(mesh: &Mesh) -> Result<()> {
    talk(mesh)?;
    let server = mesh.pod("web").serve(mesh.unused_port(), backends::echo())?;
    let plain = mesh.pod("plain");
    let mut stream = plain.connect(mesh.pod("web").at(server.port()))?;
    // Either of the two fails, as the race between them goes.
    let refused = stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]));
    ensure!(refused.is_err(), "plaintext was accepted");
    let log = mesh.proxy("b").log();
    log.expect_line(&["test/web", &plain.v4.to_string()])?;
    for line in log.text().lines() {
        let event: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
    Ok(())
}
