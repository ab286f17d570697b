//! The number of series is bounded, whatever clients and applications send.

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Message, To},
    mesh::Mesh,
    metrics::get,
    suite::Area,
};

use super::ways::{cluster, each_way, status};

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
}

/// In everything that a client invents.
const MARK: &str = "nEEdle";

fn invented_values(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 10_000;
    each_way(mesh, |way| {
        let origin = way.answering(|_| status(200, ""))?;
        let mut client = way.connect(origin.port())?;
        let batch = |client: &mut weft_tests::http::Wire, numbers: std::ops::Range<usize>| -> Result<()> {
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
