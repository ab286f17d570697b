//! Prints the table of connections.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::{Row, Secured};

/// The table as text.
pub fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "SOURCE",
        "DESTINATION",
        "NODES",
        "SECURED",
        "CONNS open/total",
        "SENT",
        "RECEIVED",
        "RTT",
    ]);
    for row in rows {
        table.add_row([
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
        ]);
    }
    for index in 4..8 {
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
