//! Real HTTP servers, reverse proxies and clients, each unaware of the mesh.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http::curl,
    load::Pattern,
    mesh::Mesh,
    programs::{
        self, Program,
        languages::{Go, Java, Node, Python, check, server},
    },
    suite::Area,
};

use super::paths::{Path, cluster, each_path};

pub(crate) fn area() -> Area {
    /// With the time to build or install what a scenario needs.
    const LIMIT: Duration = Duration::from_secs(400);
    Area::new("http_programs", cluster)
        .scenario("nginx", "curl fetches pages from nginx, over HTTP/1.1 and over HTTP/2.", nginx)
        .scenario(
            "apache",
            "curl fetches pages from Apache httpd, over HTTP/1.1, HTTP/2 and by an upgrade to HTTP/2.",
            apache,
        )
        .scenario("haproxy", "HAProxy sees the real client address, over HTTP/1.1 and over HTTP/2.", haproxy)
        .scenario(
            "python",
            "requests, aiohttp and websockets work with a server of aiohttp: bodies, streams, timeouts, WebSockets.",
            python,
        )
        .within(LIMIT)
        .scenario(
            "reverse_proxies",
            "The same clients reach that server through nginx, Apache httpd and HAProxy in their pod.",
            reverse_proxies,
        )
        .within(LIMIT)
        .scenario(
            "go",
            "Go's net/http works over HTTP/1.1 and HTTP/2: trailers, full duplex, 103, 100, aborts, cancellation.",
            go,
        )
        .within(LIMIT)
        .scenario(
            "ten_thousand_streams",
            "10 000 streams of HTTP/2 are open at the same time, and then all are answered.",
            ten_thousand_streams,
        )
        .within(LIMIT)
        .scenario(
            "node",
            "Node's http, http2 and ws work: trailers, case of names, RST codes, a stalled stream, WebSockets.",
            node,
        )
        .within(LIMIT)
        .scenario(
            "java",
            "Java's HttpClient works over HTTP/1.1, and whether or not a server accepts its upgrade to HTTP/2.",
            java,
        )
        .within(LIMIT)
}

const PAGE: usize = 3_000_000;

/// Fetches the page in several ways; `version` is curl's option and the version that must be used.
fn fetch_page(path: &Path<'_>, port: u16, version: (&str, &str)) -> Result<()> {
    let mut page = vec![0; PAGE];
    Pattern::new(0).fill(&mut page);
    let url = path.url(port, "/page");
    let (option, version) = version;
    let part = curl(&path.client, &[option, "--range", "1000-9999", &url])?.body()?;
    ensure!(part == page[1000..10_000], "{option}: the part has {} bytes", part.len());
    let form = "%{http_code} %{http_version} %header{content-length}";
    let said = curl(&path.client, &[option, "--head", "--output", "/dev/null", "--write-out", form, &url])?
        .text()?;
    // A proxy may ignore an upgrade to HTTP/2.
    let ignored = (option, version) == UPGRADED && path.meshed() && said == format!("200 1.1 {PAGE}");
    ensure!(ignored || said == format!("200 {version} {PAGE}"), "{option}: the head says {said:?}");
    let said =
        curl(&path.client, &[option, "--write-out", "%{http_code}", &path.url(port, "/nothing")])?.text()?;
    ensure!(said.ends_with("404"), "{option}: a page that does not exist: {said:?}");
    // curl 7.88 fails with more than 32 KiB right after an upgrade, and with a second request over HTTP/2.
    if (option, version) == UPGRADED {
        return Ok(());
    }
    let whole = curl(&path.client, &[option, &url])?.body()?;
    ensure!(whole == page, "{option}: {} bytes of the page", whole.len());
    if (option, version) == HTTP1 {
        let many = path.url(port, "/page?[1-30]");
        let all = curl(&path.client, &[option, "--parallel", "--parallel-max", "10", &many])?.body()?;
        ensure!(all.len() == 30 * PAGE, "{} bytes of thirty pages", all.len());
    }
    Ok(())
}

const HTTP1: (&str, &str) = ("--http1.1", "1.1");
const HTTP2: (&str, &str) = ("--http2-prior-knowledge", "2");
/// curl asks for HTTP/2 with `Upgrade: h2c`.
const UPGRADED: (&str, &str) = ("--http2", "2");

fn nginx(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let port = path.unused_port();
        let _nginx = programs::nginx(&path.server, port, PAGE)?;
        fetch_page(path, port, HTTP1)?;
        let seen = curl(&path.client, &[&path.url(port, "/client")])?.text()?;
        ensure!(path.is_client(&seen), "nginx saw {seen:?}");
        let port = path.unused_port();
        let _nginx = programs::nginx_http2(&path.server, port, PAGE)?;
        fetch_page(path, port, HTTP2)
    })
}

fn apache(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let port = path.unused_port();
        let _apache = programs::apache(&path.server, port, PAGE)?;
        [HTTP1, HTTP2, UPGRADED].into_iter().try_for_each(|version| fetch_page(path, port, version))
    })
}

fn haproxy(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let port = path.unused_port();
        let _haproxy = programs::haproxy(&path.server, port)?;
        for (option, version) in [HTTP1, HTTP2] {
            let said =
                curl(&path.client, &[option, "--write-out", " %{http_version}", &path.url(port, "/")])?
                    .text()?;
            let (seen, spoken) = said.split_once(' ').context("no version")?;
            ensure!(path.is_client(seen) && spoken == version, "HAProxy saw {said:?}");
        }
        Ok(())
    })
}

fn python_server(path: &Path<'_>, python: &Python) -> Result<(u16, Program)> {
    let port = path.unused_port();
    let mut command = python.command(&path.server, "http_server.py")?;
    command.arg(port.to_string());
    Ok((port, server("aiohttp", &path.server, port, command)?))
}

fn python(mesh: &Mesh) -> Result<()> {
    let python = Python::ready()?;
    each_path(mesh, |path| {
        let (port, _server) = python_server(path, &python)?;
        let mut client = python.command(&path.client, "http_check.py")?;
        client.arg(path.host(port));
        check(client)
    })
}

type Start = fn(&weft_tests::mesh::Pod<'_>, u16, &str) -> Result<Program>;

fn reverse_proxies(mesh: &Mesh) -> Result<()> {
    let python = Python::ready()?;
    let proxies: [(&str, Start, &[&str]); 3] = [
        ("nginx", programs::nginx_before, &["", "/old"]),
        ("Apache", programs::apache_before, &[""]),
        ("HAProxy", programs::haproxy_before, &[""]),
    ];
    for (name, start, prefixes) in proxies {
        each_path(mesh, |path| {
            let (target, _server) = python_server(path, &python)?;
            let port = path.unused_port();
            let _proxy = start(&path.client, port, &path.host(target))?;
            // WebSockets need HTTP/1.1.
            for prefix in prefixes.iter().filter(|prefix| !prefix.is_empty()) {
                let url = format!("http://localhost:{port}{prefix}/echo");
                let echoed = curl(&path.client, &["--data", "through HTTP/1.0", &url])?.text()?;
                ensure!(echoed == "through HTTP/1.0", "{prefix}: {echoed:?}");
            }
            let mut client = python.command(&path.client, "http_check.py")?;
            client.arg(format!("localhost:{port}"));
            check(client)
        })
        .context(name)?;
    }
    Ok(())
}

fn go(mesh: &Mesh) -> Result<()> {
    with_go(mesh, "check")
}

fn ten_thousand_streams(mesh: &Mesh) -> Result<()> {
    with_go(mesh, "streams")
}

/// Runs a command of the Go client against the Go server.
fn with_go(mesh: &Mesh, what: &str) -> Result<()> {
    let go = Go::ready()?;
    each_path(mesh, |path| {
        let port = path.unused_port();
        let mut command = go.command(&path.server, "http")?;
        command.args(["serve", &format!(":{port}")]);
        let _server = server("net/http", &path.server, port, command)?;
        let mut client = go.command(&path.client, "http")?;
        client.args([what, &path.url(port, "")]);
        check(client)
    })
}

fn node(mesh: &Mesh) -> Result<()> {
    let node = Node::ready()?;
    each_path(mesh, |path| {
        let ports = [path.unused_port(), path.unused_port()].map(|port| port.to_string());
        let mut command = node.command(&path.server, "server.js")?;
        command.args(&ports);
        // It listens on the first port last.
        let _server = server("node", &path.server, ports[0].parse()?, command)?;
        let mut client = node.command(&path.client, "check.js")?;
        client.arg(format!("{}.test", path.server.name())).args(&ports);
        check(client)
    })
}

fn java(mesh: &Mesh) -> Result<()> {
    let (java, go) = (Java::ready()?, Go::ready()?);
    each_path(mesh, |path| {
        let port = path.unused_port();
        let mut command = java.command(&path.server, "Server")?;
        command.arg(port.to_string());
        let _server = server("java", &path.server, port, command)?;
        let mut client = java.command(&path.client, "Check")?;
        client.args(["echo", &path.url(port, "")]);
        check(client)?;

        // nginx ignores the upgrade, and Go accepts it.
        let (first, second) = (path.unused_port(), path.unused_port());
        let _nginx = programs::nginx(&path.server, first, PAGE)?;
        let mut command = go.command(&path.server, "http")?;
        command.args(["serve-upgrade", &format!(":{second}")]);
        let _go = server("net/http", &path.server, second, command)?;
        for (port, page, version, length) in
            [(first, "/page", "HTTP_1_1", PAGE), (second, "/protocol", "HTTP_2", "HTTP/2.0".len())]
        {
            let mut client = java.command(&path.client, "Check")?;
            // A proxy may ignore the upgrade too.
            let version = if path.meshed() { "ANY" } else { version };
            client.args(["page", &path.url(port, page), version, &length.to_string()]);
            check(client).context(version)?;
        }
        Ok(())
    })
}
