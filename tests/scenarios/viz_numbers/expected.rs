//! Compares what is shown with what the clients counted within the scrape window.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    counted::{Call, Counted, Range, Which},
    report::{Bounds, Report},
    shown::{Shown, find},
    traffic::{OPEN, SLOW, Traffic, now},
};

const WINDOW: f64 = 60.0;
/// Prometheus takes an increase between two scrapes for that of the whole window, to which a little is missing.
const EXTRAPOLATION: f64 = 0.03;
/// The upper bounds of the latency's buckets, in milliseconds, as far as they are needed.
const BUCKETS: [f64; 16] =
    [1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 1000.0];

/// Between which times the first and the last scrape of a window are, in seconds before the question.
pub(super) struct Scrapes {
    first: (f64, f64),
    last: f64,
}

impl Scrapes {
    /// The first scrape within the window, and the last one.
    pub(super) fn of_prometheus(interval: Duration) -> Self {
        let late = 2.0 * interval.as_secs_f64() + 1.0;
        Self { first: (WINDOW + 1.0, WINDOW - late), last: late }
    }

    /// The last scrape before the window, and the last one; they are 10 s apart.
    pub(super) fn of_proxies() -> Self {
        Self { first: (WINDOW + 13.0, WINDOW - 1.0), last: 12.0 }
    }

    /// The ranges of time that a figure may be of.
    fn ranges(&self, asked: f64) -> Vec<Range> {
        let steps = |from: f64, to: f64| {
            (0..).map(move |n| from + f64::from(n) * 0.5).take_while(move |at| *at <= to)
        };
        let firsts = steps(asked - self.first.0, asked - self.first.1);
        firsts
            .flat_map(|from| steps(asked - self.last, asked + 1.0).map(move |to| Range { from, to }))
            .collect()
    }
}

/// The clients' count at the time of a question.
struct Truth {
    counted: Counted,
    ranges: Vec<Range>,
    window: Range,
}

impl Truth {
    fn bounds(&self, margin: f64, figure: impl Fn(Range) -> f64) -> Bounds {
        let all: Vec<f64> = self.ranges.iter().map(|range| figure(*range)).collect();
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        Bounds { counted: figure(self.window), least: least * (1.0 - margin), most: most * (1.0 + margin) }
    }

    fn requests(&self, which: &Which<'_>) -> Bounds {
        self.bounds(EXTRAPOLATION, |range| self.counted.requests(which, range))
    }

    fn success(&self, which: &Which<'_>) -> Bounds {
        let bounds = self.bounds(0.01, |range| self.counted.success(which, range));
        Bounds { most: bounds.most.min(1.0), ..bounds }
    }

    /// A server knows of no latency that its client does not see, and figures are as precise as their buckets.
    fn latency(&self, which: &Which<'_>, share: f64, least: f64) -> Bounds {
        let bounds = self.bounds(0.0, |range| self.counted.quantile(which, range, share));
        let above = BUCKETS.iter().copied().find(|bound| *bound >= bounds.most);
        Bounds { least, most: above.unwrap_or(f64::INFINITY), ..bounds }
    }

    fn bytes(&self) -> Bounds {
        self.bounds(EXTRAPOLATION, |range| self.counted.bytes(range))
    }
}

fn all(_: &Call) -> bool {
    true
}

fn of_pod(name: &'static str) -> impl Fn(&Call) -> bool {
    move |call| call.server == name
}

fn by_service(call: &Call) -> bool {
    call.by_service
}

/// All figures of one weft-viz.
pub(super) fn compare(
    shown: &Shown,
    traffic: &Traffic,
    scrapes: &Scrapes,
    report: &mut Report,
) -> Result<()> {
    let comparison = Comparison { shown, traffic, scrapes };
    comparison.stat(report)?;
    comparison.api(report)?;
    comparison.connections(report)
}

struct Comparison<'a> {
    shown: &'a Shown,
    traffic: &'a Traffic,
    scrapes: &'a Scrapes,
}

impl Comparison<'_> {
    fn ask<T>(&self, ask: impl FnOnce() -> Result<T>) -> Result<(T, Truth)> {
        let asked = now();
        let answer = ask()?;
        let window = Range { from: asked - WINDOW, to: asked };
        Ok((answer, Truth { counted: self.traffic.counted(), ranges: self.scrapes.ranges(asked), window }))
    }

    /// `weft viz stat` of everything that has figures.
    fn stat(&self, report: &mut Report) -> Result<()> {
        let to_web_b = |call: &Call| call.client == "caller-a" && call.server == "web-b";
        let to_web_a = |call: &Call| call.client == "caller-a" && call.server == "web-a";
        let of_caller = |call: &Call| call.client.starts_with("caller");
        let (of_web_a, of_web_b) = (of_pod("web-a"), of_pod("web-b"));
        let rows: [(&str, &str, &Which<'_>); 9] = [
            ("deploy", "web", &all),
            ("po", "web-a", &of_web_a),
            ("po", "web-b", &of_web_b),
            ("svc", "web", &by_service),
            ("ns/test", "test", &all),
            ("deploy --to svc/web", "caller", &by_service),
            ("deploy --from deploy/caller", "web", &of_caller),
            ("po --from po/caller-a", "web-a", &to_web_a),
            ("po --from po/caller-a", "web-b", &to_web_b),
        ];
        for (arguments, name, which) in rows {
            let (rows, truth) = self.ask(|| self.shown.command(&format!("stat {arguments}")))?;
            let row = find(&rows, name)?;
            let what = format!("stat {arguments}: {name}");
            let number = |field: &str| row[field].as_f64().with_context(|| format!("{what}: {field}: {row}"));
            let mut add = |field: &str, bounds, value| {
                report.add(&format!("{what}, {field}"), self.shown.source, "stat", bounds, value);
            };
            add("requests", truth.requests(which), number("rps")? * WINDOW);
            add("success", truth.success(which), number("success")?);
            let slow = SLOW.as_secs_f64() * 1000.0;
            // The slow tenth is in the bucket of more than 100 ms.
            let slow = BUCKETS.iter().copied().rfind(|bound| *bound <= slow).unwrap_or_default();
            add("p50", truth.latency(which, 0.5, 0.0), number("latency_ms_p50")?);
            add("p95", truth.latency(which, 0.95, slow), number("latency_ms_p95")?);
            add("p99", truth.latency(which, 0.99, slow), number("latency_ms_p99")?);
        }
        let (rows, _) = self.ask(|| self.shown.command("stat deploy"))?;
        let caller = find(&rows, "caller")?;
        ensure!(caller["rps"].is_null(), "caller receives nothing, but has figures: {caller}");
        Ok(())
    }

    /// What the dashboard shows.
    fn api(&self, report: &mut Report) -> Result<()> {
        let requests = |value: &Value| value["requests"].as_f64().unwrap_or_default();
        let mut add = |what: &str, bounds, value| report.add(what, self.shown.source, "API", bounds, value);

        let (map, truth) = self.ask(|| self.shown.api("/api/topology?namespace=test"))?;
        let edge = |id: &str| {
            let edges = map["edges"].as_array().into_iter().flatten();
            edges.into_iter().find(|edge| edge["id"] == id).with_context(|| format!("no edge {id}: {map}"))
        };
        let outside = edge("outside>test/deployment/web")?;
        add(
            "topology: outside to web",
            truth.requests(&|call| call.client == "outsider"),
            requests(&outside["http"]),
        );
        let caller = edge("test/deployment/caller>test/deployment/web")?;
        add("topology: caller to web", truth.requests(&by_service), requests(&caller["http"]));

        let (overview, truth) = self.ask(|| self.shown.api("/api/overview"))?;
        add("overview: all requests", truth.requests(&all), requests(&overview["totals"]["http"]));

        let (detail, truth) = self.ask(|| self.shown.api("/api/resource/test/deployment/web"))?;
        add("resource web: its row", truth.requests(&all), requests(&detail["row"]["http"]));
        let inbound = find(&detail["inbound"], "caller")?;
        add("resource web: from caller", truth.requests(&by_service), requests(&inbound["http"]));
        for pod in ["web-a", "web-b"] {
            let row = find(&detail["pods"], pod)?;
            add(&format!("resource web: pod {pod}"), truth.requests(&of_pod(pod)), requests(&row["http"]));
        }
        Ok(())
    }

    /// Open connections, which are exact, and bytes.
    fn connections(&self, report: &mut Report) -> Result<()> {
        let source = self.shown.source;
        let total: usize = OPEN.iter().map(|(_, count)| count).sum();
        let (rows, truth) = self.ask(|| self.shown.command("stat sts"))?;
        let store = find(&rows, "store")?;
        let number = |field: &str| store[field].as_f64().with_context(|| format!("{field}: {store}"));
        let open = Bounds::exactly(total as f64);
        report.add("stat sts: store, TCP_CONN", source, "stat", open, number("tcp_open_connections")?);
        report.add(
            "stat sts: store, bytes read",
            source,
            "stat",
            truth.bytes(),
            number("tcp_read_bytes_rate")?,
        );
        report.add(
            "stat sts: store, bytes written",
            source,
            "stat",
            truth.bytes(),
            number("tcp_write_bytes_rate")?,
        );

        let edges = self.shown.command("edges po")?;
        for (client, count) in OPEN {
            let found = edges.as_array().into_iter().flatten();
            let found = found.filter(|edge| edge["src"] == client && edge["dst"] == "store");
            let open: f64 = found.map(|edge| edge["open_connections"].as_f64().unwrap_or_default()).sum();
            let what = format!("edges po: {client} to store");
            report.add(&what, source, "edges", Bounds::exactly(count as f64), open);
        }
        let found = |src: &str, dst: &str| {
            let mut edges = edges.as_array().into_iter().flatten();
            edges.find(|edge| edge["src"] == src && edge["dst"] == dst).map(|edge| edge["secured"].clone())
        };
        for (src, dst, secured) in [
            ("caller-a", "web-a", "same_node"),
            ("caller-a", "web-b", "mtls"),
            ("caller-b", "web-a", "mtls"),
            ("caller-b", "web-b", "same_node"),
            ("caller-a", "store", "mtls"),
            ("caller-b", "store", "same_node"),
        ] {
            let found = found(src, dst).with_context(|| format!("no edge {src} to {dst}: {edges}"))?;
            ensure!(found == secured, "the edge {src} to {dst} is {found}, not {secured}");
        }
        Ok(())
    }
}
