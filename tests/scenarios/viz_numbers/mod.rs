//! The figures of weft-viz against the clients' own counts: of pods, owners, services and a namespace, on one node and
//! across nodes, from Prometheus and from the proxies.

mod counted;
mod expected;
mod report;
mod shown;
mod top;
mod traffic;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::{
    backends,
    mesh::{Description, Mesh, mesh},
    suite::Area,
    wait,
};
use weft_vm::viz::{Context, Prometheus, Server};

use self::{
    expected::Scrapes,
    report::Report,
    shown::{Shown, Source},
    traffic::Traffic,
};

pub(crate) fn area() -> Area {
    Area::without_cluster("viz_numbers")
        .alone(
            "agree",
            "Under traffic of known counts, failures, latencies, connections and bytes, `weft viz stat`, `edges`, `top` and \
             the API show what the clients counted, from Prometheus and from the proxies.",
            cluster,
            agree,
        )
        .within(Duration::from_secs(240))
}

const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// The window of a minute, and what the proxies' scrapes may be older: they are 10 s apart.
const WARM_UP: Duration = Duration::from_secs(75);
const HTTP_PORT: u16 = 8000;
const TCP_PORT: u16 = 9000;

/// `caller` on both nodes calls `web` on both nodes, and has connections to `store`. `outsider` is not meshed.
fn cluster() -> Description {
    let caller = |name: &str, node: &'static str, cluster: Description| {
        cluster.pod(name, |pod| pod.node(node).meshed().owner("deployment", "caller"))
    };
    let web = |name: &str, node: &'static str, cluster: Description| {
        cluster.pod(name, |pod| pod.node(node).meshed().app("web").owner("deployment", "web"))
    };
    let cluster = caller("caller-a", "a", caller("caller-b", "b", mesh("viz-numbers").taps()));
    web("web-a", "a", web("web-b", "b", cluster))
        .pod("store", |pod| pod.node("b").meshed().owner("statefulset", "store"))
        .pod("outsider", |pod| pod.node("a").unmeshed())
        .service("web", |service| service.port(HTTP_PORT, HTTP_PORT))
        .service("store", |service| service.port(TCP_PORT, TCP_PORT))
}

fn agree(mesh: &Mesh) -> Result<()> {
    let _web = [traffic::serve(mesh, "web-a")?, traffic::serve(mesh, "web-b")?];
    let _store = mesh.pod("store").serve(TCP_PORT, backends::echo())?;
    let cluster = mesh.cluster()?;
    // The second server overwrites the first one's token for taps, so it is the one that is tapped.
    let from_proxies = Server::start(&cluster, None)?;
    wait::until_ok("weft-viz serves", || shown::answers(&from_proxies))?;
    let mut prometheus = Prometheus::start(&cluster, SCRAPE_INTERVAL)?;
    prometheus.until_ready()?;
    let server = Server::start(&cluster, Some((&prometheus.url(), SCRAPE_INTERVAL)))?;
    wait::until_ok("weft-viz serves", || shown::answers(&server))?;

    let sources = [
        Shown::new(Source::Prometheus, Context::of(&cluster, &server, Some(&prometheus))?)?,
        Shown::new(Source::Proxies, Context::of(&cluster, &from_proxies, None)?)?,
    ];
    drop(cluster);

    let mut report = Report::default();
    let traffic = Traffic::new();
    thread::scope(|scope| {
        let _end = traffic.end_on_drop();
        let clients = traffic.start(scope, mesh);
        let begun = Instant::now();
        top::compare(mesh, &sources[0], &traffic, &mut report)?;
        thread::sleep(wait::here(WARM_UP).saturating_sub(begun.elapsed()));
        for client in &clients {
            ensure!(!client.is_finished(), "a client has ended: {:?}", traffic.failures());
        }
        for shown in &sources {
            let scrapes = match shown.source {
                Source::Prometheus => Scrapes::of_prometheus(SCRAPE_INTERVAL),
                Source::Proxies => Scrapes::of_proxies(),
            };
            expected::compare(shown, &traffic, &scrapes, &mut report)?;
        }
        anyhow::Ok(())
    })?;
    traffic.no_failures()?;
    println!("{report}");
    drop((server, from_proxies, prometheus));
    report.is_right()
}
