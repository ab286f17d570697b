//! Prints the tables.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::{Row, Secured, Stat, Worst};

/// The table of connections.
pub fn render(rows: &[Row]) -> String {
    let header = ["SOURCE", "DESTINATION", "NODES", "SECURED", "CONNS open/total", "SENT", "RECEIVED", "RTT"];
    let cells = rows.iter().map(|row| {
        [
            row.source.clone(),
            row.destination.clone(),
            row.nodes.clone(),
            match row.refused {
                0 => row.secured.to_string(),
                refused => format!("{}, {refused} refused", row.secured),
            },
            format!("{}/{}", row.open, row.total),
            bytes(row.sent),
            bytes(row.received),
            row.rtt.map_or("-".to_owned(), time),
        ]
    });
    table(header, cells, 4..8)
}

/// The table of workloads, with the columns of `linkerd viz stat`.
pub fn render_stats(stats: &[Stat]) -> String {
    let header =
        ["NAME", "MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "TCP_CONN"];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = stats.iter().map(|stat| {
        let latency = |index: usize| or_none(stat.latency.map(|latency| millis(latency[index])));
        [
            stat.name.clone(),
            format!("{}/{}", stat.meshed.0, stat.meshed.1),
            or_none(stat.success.map(percent)),
            or_none(stat.rps.map(|rps| format!("{rps:.1}rps"))),
            latency(0),
            latency(1),
            latency(2),
            stat.connections.to_string(),
        ]
    });
    table(header, cells, 1..8)
}

/// The table of what fails; empty if nothing does.
pub fn render_worst(rows: &[Worst]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = rows.iter().map(|row| {
        let success = row.requests.saturating_sub(row.failures) as f64 / row.requests.max(1) as f64;
        [
            row.workload.clone(),
            row.method.clone(),
            row.path.clone(),
            percent(success),
            row.requests.to_string(),
        ]
    });
    table(["WORST", "METHOD", "PATH", "SUCCESS", "REQUESTS"], cells, 3..5)
}

fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    right: std::ops::Range<usize>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

impl std::fmt::Display for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secured::Mtls => f.write_str("mTLS"),
            Secured::SameNode => f.write_str("same-node"),
            Secured::ByApplication => f.write_str("the application's TLS"),
            Secured::Plaintext(reason) => write!(f, "plaintext: {reason}"),
        }
    }
}

/// `1.5 MiB`
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `0.25 ms`
fn time(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// `0.5ms`, `17ms`
fn millis(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}ms") } else { format!("{value:.0}ms") }
}

fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}
