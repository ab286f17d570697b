//! Which requests a tap shows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_api::linkerd::tap::observe_request::{
    Match,
    r#match::{
        self as kind, Http, Label, Seq, Tcp,
        http::{self as http_match, StringMatch, string_match},
        tcp,
    },
};
use weft_tests::{
    mesh::Mesh,
    tap::{Tap, tap},
    wait,
};

use crate::http_mesh::{
    ask,
    ways::{Way, each_way, ok},
};

fn of(wanted: kind::Match) -> Match {
    Match { r#match: Some(wanted) }
}

fn http(wanted: http_match::Match) -> Match {
    of(kind::Match::Http(Http { r#match: Some(wanted) }))
}

fn path(prefix: &str) -> Match {
    let prefix = string_match::Match::Prefix(prefix.to_owned());
    http(http_match::Match::Path(StringMatch { r#match: Some(prefix) }))
}

fn authority(name: &str) -> Match {
    let exact = string_match::Match::Exact(name.to_owned());
    http(http_match::Match::Authority(StringMatch { r#match: Some(exact) }))
}

fn label(key: &str, value: &str) -> Match {
    of(kind::Match::DestinationLabel(Label { key: key.to_owned(), value: value.to_owned() }))
}

fn port(port: u16) -> Match {
    let range = tcp::PortRange { min: port.into(), max: 0 };
    of(kind::Match::Destination(Tcp { r#match: Some(tcp::Match::Ports(range)) }))
}

fn all(matches: Vec<Match>) -> Match {
    of(kind::Match::All(Seq { matches }))
}

pub(super) fn filters(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let origin = way.answering(|_| ok("hello"))?;
        let server = way.server.name();
        let not = |wanted| of(kind::Match::Not(Box::new(wanted)));
        let open = |wanted: Match| tap(mesh, "a", &["client"])?.matching(wanted).open();
        let get = http(http_match::Match::Method(http::Method::GET.into()));
        let taps: Vec<(&str, Tap, usize)> = vec![
            ("everything", open(all(vec![]))?, 4),
            ("path", open(path("/a"))?, 2),
            ("not path", open(not(path("/a")))?, 2),
            ("authority", open(authority("origin.test"))?, 4),
            ("other authority", open(authority("other.test"))?, 0),
            ("method", open(get.clone())?, 4),
            ("not method", open(not(get))?, 0),
            ("scheme", open(http(http_match::Match::Scheme("http".into())))?, 4),
            ("label", open(all(vec![label("pod", server), label("namespace", "test")]))?, 4),
            ("other label", open(label("pod", "client"))?, 0),
            ("port", open(all(vec![port(origin.port()), path("/b")]))?, 2),
            ("inbound", tap(mesh, "a", &["client"])?.direction("inbound").open()?, 0),
            ("another pod", tap(mesh, "a", &["plain-client", "hidden"])?.open()?, 0),
        ];
        let mut wire = way.connect(origin.port())?;
        for target in ["/a", "/a/1", "/b", "/b/1"] {
            ask(&mut wire, target, "")?;
        }
        taps[0].1.expect(4)?;
        for (name, tap, expected) in &taps {
            tap.expect(*expected).with_context(|| (*name).to_owned())?;
        }
        Ok(())
    })
}

pub(super) fn opt_out(mesh: &Mesh) -> Result<()> {
    let way = Way { mesh, client: mesh.pod("client"), server: mesh.pod("hidden"), node: "a", tls: "local" };
    let origin = way.answering(|_| ok("hello"))?;
    let hidden = tap(mesh, "a", &["hidden"])?.open()?;
    let client = tap(mesh, "a", &["client"])?.open()?;
    let mut wire = way.connect(origin.port())?;
    ask(&mut wire, "/before", "")?;
    hidden.expect(1)?;
    mesh.change_pod("hidden", |pod| pod.annotate("viz.linkerd.io/disable-tap", "true"))?;
    // The annotation arrives in a moment; from then on nothing is shown.
    let mut sent = 1;
    wait::until_ok("the pod is not shown any more", || {
        let before = hidden.calls().len();
        ask(&mut wire, "/after", "")?;
        sent += 1;
        client.expect(sent)?;
        std::thread::sleep(Duration::from_millis(50));
        ensure!(hidden.calls().len() == before, "it is shown");
        Ok(())
    })?;
    let shown = hidden.calls().len();
    for _ in 0..10 {
        ask(&mut wire, "/after", "")?;
    }
    client.expect(sent + 10)?;
    ensure!(hidden.calls().len() == shown, "{:?}", hidden.calls());
    let again = tap(mesh, "a", &["hidden"])?.open()?;
    ask(&mut wire, "/again", "")?;
    client.expect(sent + 11)?;
    ensure!(again.calls().is_empty(), "{:?}", again.calls());
    mesh.change_pod("hidden", |pod| pod.annotate("viz.linkerd.io/disable-tap", "false"))?;
    wait::until_ok("the pod is shown again", || {
        ask(&mut wire, "/shown", "")?;
        ensure!(!again.calls().is_empty());
        Ok(())
    })
}
