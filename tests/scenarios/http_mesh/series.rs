//! The number of series is bounded, whatever clients and applications send.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    http::{Message, To, Wire},
    http2::{self, Answer},
    mesh::Mesh,
    metrics::get,
    suite::Area,
};

use super::ways::{ask, cluster, each_way, status, until_status};

pub(crate) fn area() -> Area {
    Area::new("http_series", cluster)
        .scenario(
            "invented_values",
            "10 000 different paths, hosts, agents and methods add no series, and none of them appears in /metrics.",
            invented_values,
        )
        .scenario(
            "invented_statuses",
            "An application that answers with 400 different status codes adds a bounded number of series, and every \
             response is counted.",
            invented_statuses,
        )
        .scenario(
            "documented",
            "docs/metrics.md has every family that a proxy reports after HTTP, gRPC and TCP, and the proxies report \
             every HTTP family of docs/metrics.md.",
            documented,
        )
}

/// In everything that a client invents.
const MARK: &str = "nEEdle";

fn invented_values(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 10_000;
    each_way(mesh, |way| {
        let origin = way.answering(|_| status(200, ""))?;
        let mut client = way.connect(origin.port())?;
        let batch = |client: &mut Wire, numbers: std::ops::Range<usize>| -> Result<()> {
            for number in numbers {
                let method = if number % 10 == 0 { format!("{MARK}{number}") } else { "GET".to_owned() };
                client.send(format!(
                    "{method} /{MARK}/{number}?{MARK}={number} HTTP/1.1\r\nHost: {MARK}-{number}.test\r\n\
                     User-Agent: {MARK}/{number}\r\nX-{MARK}-{number}: {number}\r\n\r\n"
                ))?;
                let response = Message::response(client, To::Other)?;
                ensure!(response.head.status() == 200, "{response:?}");
            }
            Ok(())
        };
        batch(&mut client, 0..20)?;
        let count =
            || Ok::<_, anyhow::Error>([mesh.proxy("a").metrics()?.len(), mesh.proxy("b").metrics()?.len()]);
        let before = count()?;
        batch(&mut client, 20..REQUESTS)?;
        let after = count()?;
        println!("{}: series {before:?}, after {REQUESTS} requests {after:?}", way.server.name());
        for (before, after) in before.into_iter().zip(after) {
            // The retransmission of a segment may add some.
            ensure!(after <= before + 20, "{before} series became {after}");
        }
        for proxy in mesh.proxies() {
            let text = get(proxy.admin()?, "/metrics")?.to_lowercase();
            ensure!(!text.contains(&MARK.to_lowercase()), "a client's text is in the metrics of {proxy}");
        }
        origin.no_failures()
    })
}

/// Every family, as the document names it.
fn documented(mesh: &Mesh) -> Result<()> {
    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
    let names: BTreeSet<String> = DOCUMENT
        .split('`')
        .flat_map(|word| match word.contains("KIND") {
            true => vec![word.replace("KIND", "http"), word.replace("KIND", "grpc")],
            false => vec![word.to_owned()],
        })
        .collect();
    each_way(mesh, |way| {
        let (origin, echo) = (way.answering(|_| status(200, "x"))?, way.serve(backends::echo())?);
        let server = way.http2(|_| Answer::grpc(0))?;
        for client in [&way.client, &mesh.pod("plain-client")] {
            ask(&mut way.connect_from(client, origin.port())?, "/", "")?;
            let stream = client.connect(mesh.service(way.server.name()).at(server.port()))?;
            http2::Client::over(stream)?.send(http2::grpc("origin.test", "/test.Service/Call"))?;
            let mut wire = way.connect_from(client, echo.port())?;
            wire.send("no HTTP\n")?;
            ensure!(&wire.array()? == b"no HTTP\n", "another echo");
        }
        way.set_policy(origin.port(), "deny")?;
        until_status(&mut way.connect(origin.port())?, 200, 403)?;
        let mut wire = Wire::new(way.client.connect(way.server.at(mesh.unused_port()))?);
        ensure!(ask(&mut wire, "/", "")?.head.status() == 502, "somebody listens");
        Ok(())
    })?;
    let mut reported = BTreeSet::new();
    for proxy in mesh.proxies() {
        let text = get(proxy.admin()?, "/metrics")?;
        let types = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split_once(' '));
        for (name, kind) in types {
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            ensure!(names.contains(&name), "docs/metrics.md does not have {name}");
            reported.insert(name);
        }
    }
    let of_http = |name: &&String| {
        let begins =
            ["inbound_http_", "outbound_http_", "inbound_grpc_", "outbound_grpc_", "request_", "response_"];
        begins.iter().any(|begin| name.starts_with(begin)) && !name.contains(['{', '*', ' '])
    };
    for name in names.iter().filter(of_http) {
        ensure!(reported.contains(name), "docs/metrics.md has {name}, and no proxy reports it");
    }
    println!("{} families", reported.len());
    Ok(())
}

fn invented_statuses(mesh: &Mesh) -> Result<()> {
    /// Statuses that one series keeps apart, and what each adds: a counter, and the lines of a histogram.
    const MOST: usize = 2 * 49 * (2 + 28) + 4 * 2 * 65;
    each_way(mesh, |way| {
        let origin = way.answering(|request| {
            status(request.head.target().trim_start_matches('/').parse().unwrap_or(200), "")
        })?;
        let watches = [mesh.proxy("a").watch()?, mesh.proxy(way.node).watch()?];
        let before = mesh.proxy("a").metrics()?.len() + mesh.proxy("b").metrics()?.len();
        let mut client = way.connect(origin.port())?;
        let codes = 400..800;
        for code in codes.clone() {
            client.send(format!("GET /{code} HTTP/1.1\r\nHost: origin.test\r\n\r\n"))?;
            let response = Message::response(&mut client, To::Other)?;
            ensure!(response.head.status() == code, "{response:?}");
        }
        let after = mesh.proxy("a").metrics()?.len() + mesh.proxy("b").metrics()?.len();
        println!("{}: 400 status codes added {} series", way.server.name(), after - before);
        ensure!(after - before < MOST, "{} series were added", after - before);
        let [source, destination] = watches;
        source.expect(
            "response_total",
            &[("direction", "outbound"), ("dst_pod", way.server.name())],
            400.0,
        )?;
        destination.expect(
            "response_total",
            &[("direction", "inbound"), ("pod", way.server.name())],
            400.0,
        )?;
        origin.no_failures()
    })
}
