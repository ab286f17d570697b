//! Certificates: who receives them, their renewal, and a change of the authority.

use std::{
    fs,
    io::{Read, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    attack::{Attempt, Authority, Client, Verdict, certify},
    backends,
    load::{Steady, Style},
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};

pub(crate) fn area() -> Area {
    Area::new("identity", two_pods)
        .scenario(
            "certify_requires_the_nodes_token",
            "A certificate is issued only for a token of a node on which a pod of that service account runs.",
            certify_requires_the_nodes_token,
        )
        .scenario(
            "state_is_private",
            "Only their owner can read the issuer's key and the nodes' tokens.",
            state_is_private,
        )
        .alone(
            "renewal_in_use",
            "Certificates are renewed well before they expire, and connections that are older than the first \
             certificate's lifetime go on beside new ones.",
            short_lived,
            renewal_in_use,
        )
        .within(Duration::from_secs(120))
        .alone(
            "anchors_are_rotated",
            "A new authority replaces the old one under load without a failure, long before certificates end; when the \
             old anchor is removed, its certificates are refused.",
            two_pods,
            anchors_are_rotated,
        )
        .within(Duration::from_secs(150))
}

fn two_pods() -> Description {
    mesh("identity")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("web", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .pod("attacker", |pod| pod.node("a").unmeshed())
        .service("web", |service| service.port(80, 8080))
}

/// Certificates are valid for 5 s plus a clock tolerance of 20 s, and are renewed in between.
fn short_lived() -> Description {
    two_pods().control_arg("--issuance-lifetime=5s")
}

/// Enough for two certificates, one after the other.
const LIFETIMES: Duration = Duration::from_secs(60);
/// Certificates of an earlier issuer are replaced within 20 s, though they are valid for a day.
const REPLACED: Duration = Duration::from_secs(40);

fn certify_requires_the_nodes_token(mesh: &Mesh) -> Result<()> {
    let control = mesh.control().folder();
    let token =
        |node: &str| fs::read(mesh.control().state("tokens").join(node)).with_context(|| node.to_owned());
    let web = mesh.pod("web").identity();
    certify(control, &web, &token("b")?).context("the token of its own node")?;
    for (whose, token) in
        [("another node's", token("a")?), ("an invented", b"secret".to_vec()), ("an empty", Vec::new())]
    {
        let granted = certify(control, &web, &token);
        ensure!(granted.is_err(), "{whose} token was accepted for {web}");
    }
    let nobody = "nobody.test.serviceaccount.identity.linkerd.cluster.local";
    ensure!(certify(control, nobody, &token("b")?).is_err(), "an identity without a pod was certified");
    mesh.control().log().expect_line(&[&web])?;
    Ok(())
}

fn state_is_private(mesh: &Mesh) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for file in ["", "issuer-key.pem", "tokens/a", "tokens/b"] {
        let mode = fs::metadata(mesh.control().state(file)).context(file)?.permissions().mode();
        ensure!(mode & 0o077 == 0, "{file:?} has the mode {mode:o}");
    }
    Ok(())
}

/// When the certificate of a pod expires, in seconds of Unix time.
fn expires(mesh: &Mesh, node: &str) -> Result<f64> {
    Ok(mesh.proxy(node).metrics()?.value("control_identity_cert_expiration_timestamp_seconds", &[]))
}

fn renewal_in_use(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    let (netns, target) = (mesh.pod("client").netns().clone(), mesh.service("web").at(80));
    let loads = [Style::Fresh, Style::Kept]
        .map(|style| Steady::start(&netns, target, style, 4, Duration::from_millis(10)));
    loads.iter().try_for_each(|load| load.keep_on(10))?;
    let first = [expires(mesh, "a")?, expires(mesh, "b")?];
    ensure!(
        first.iter().all(|expires| *expires > 0.0),
        "the metrics do not contain when certificates expire: {first:?}"
    );

    // Until the first certificates have expired.
    wait::until_ok_for(LIFETIMES, "the first certificates of both nodes have expired", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        for (node, first) in ["a", "b"].into_iter().zip(first) {
            ensure!(now > first + 1.0, "the first one is still valid");
            ensure!(expires(mesh, node)? > now, "{node} has let its certificate expire");
        }
        Ok(())
    })?;
    loads.iter().try_for_each(|load| load.keep_on(100))?;
    for proxy in mesh.proxies() {
        let refreshed = [("result", "ok")];
        proxy.metrics()?.expect_some("control_identity_cert_refreshes_total", &refreshed)?;
    }
    for load in loads {
        load.stop().no_failures()?;
    }
    server.no_failures()
}

fn anchors_are_rotated(mesh: &Mesh) -> Result<()> {
    let server = mesh.pod("web").serve(8080, backends::echo())?;
    let _other = mesh.pod("client").serve(8080, backends::echo())?;
    let (netns, target) = (mesh.pod("client").netns().clone(), mesh.service("web").at(80));
    let state = |file| mesh.control().state(file);
    let (old, new) = (Authority::of_mesh(&state(""))?, Authority::foreign("the next authority")?);
    let web = mesh.pod("web");
    let attacker = Client::new(mesh.pod("attacker").netns(), web.at(8080), &web.identity());
    let comes_with = |authority: &Authority| -> Result<()> {
        let leaf = authority.leaf(&mesh.pod("client").identity())?;
        let answer = attacker.attempt(Some(leaf), b"x", Attempt::default())?.answer()?;
        ensure!(answer == b"x");
        Ok(())
    };
    comes_with(&old).context("before")?;
    ensure!(comes_with(&new).is_err(), "the new authority is trusted before it was made an anchor");

    let loads = [Style::Fresh, Style::Kept]
        .map(|style| Steady::start(&netns, target, style, 4, Duration::from_millis(10)));
    let keep_on = || loads.iter().try_for_each(|load| load.keep_on(50));
    keep_on()?;
    // As an operator does it: trust both, issue with the new one, remove the old one.
    let anchors = fs::read_to_string(state("anchors.pem"))?;
    replace(&state("anchors.pem"), &format!("{anchors}\n{}", new.certificate_pem))?;
    wait::until_ok("both are trusted", || comes_with(&new))?;
    comes_with(&old)?;

    replace(&state("issuer-key.pem"), &new.key_pem())?;
    replace(&state("issuer.pem"), &new.certificate_pem)?;
    let by_new = |pod: &str| served_by(mesh, pod, &new);
    wait::until_ok_for(REPLACED, "both nodes have certificates of the new authority", || {
        ensure!(by_new("client")? && by_new("web")?, "one still has a certificate of the old");
        Ok(())
    })?;
    keep_on()?;

    replace(&state("anchors.pem"), &new.certificate_pem)?;
    wait::until("the old authority is refused", || comes_with(&old).is_err())?;
    comes_with(&new).context("after")?;
    keep_on()?;
    for load in loads {
        load.stop().no_failures()?;
    }
    // The refused attempts did not reach the server.
    ensure!(server.failures().is_empty(), "{:?}", server.failures());
    let mut last = mesh.pod("client").connect(target)?;
    last.write_all(b"?")?;
    Ok(last.read_exact(&mut [0])?)
}

/// Whether a pod proves itself with a certificate of this authority.
fn served_by(mesh: &Mesh, pod: &str, authority: &Authority) -> Result<bool> {
    let pod = mesh.pod(pod);
    let mut client = Client::new(mesh.pod("attacker").netns(), pod.at(8080), &pod.identity());
    client.anchor = authority.anchor();
    let leaf = authority.leaf(&mesh.pod("client").identity())?;
    match client.attempt(Some(leaf), b"x", Attempt::default())? {
        Verdict::Answered { proven, .. } => Ok(proven),
        Verdict::Refused(e) => Err(e.into()),
    }
}

/// Replaces the file atomically, as an operator's tools do.
fn replace(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let draft = path.with_extension("draft");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    Ok(fs::rename(draft, path)?)
}
