//! `weft viz top`, which counts calls one by one: its counts are exact.

use std::{
    io::{BufRead, BufReader},
    process::Child,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_tests::{http::Wire, mesh::Mesh, wait};

use super::{
    HTTP_PORT,
    report::{Bounds, Report},
    shown::Shown,
    traffic::Traffic,
};

/// It is not meshed, and calls a pod.
const OUTSIDER: &str = "outsider";
const CALLS: [(&str, usize); 3] = [("caller-a", 20), ("caller-b", 12), (OUTSIDER, 5)];
const EVERY: Duration = Duration::from_millis(40);
/// `top` prints every ten seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A running `top`, which ends with this.
struct Top {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

/// Sends calls with a path of their own while `top` runs, and compares its counts with them.
pub(super) fn compare(mesh: &Mesh, shown: &Shown, traffic: &Traffic, report: &mut Report) -> Result<()> {
    let top = Top::start(shown)?;
    // The first line means that pods are tapped.
    top.line()?;
    let mut failures = 0;
    for (client, count) in CALLS {
        let address = match client {
            OUTSIDER => mesh.pod("web-b").at(HTTP_PORT),
            _ => mesh.service("web").at(HTTP_PORT),
        };
        let mut wire = Wire::new(mesh.pod(client).connect(address)?);
        for _ in 0..count {
            failures += usize::from(traffic.one(&mut wire, client, client != OUTSIDER, "/top")?);
            thread::sleep(EVERY);
        }
    }
    let all: usize = CALLS.iter().map(|(_, count)| count).sum();
    let mut rows = top.line()?;
    while sum(&rows, "", |_| 1.0) < all as f64 {
        rows = top.line().with_context(|| format!("{all} calls are not all shown: {rows}"))?;
    }
    for (client, count) in CALLS {
        let source = if client == OUTSIDER { mesh.pod(client).v4.to_string() } else { client.to_owned() };
        let found = sum(&rows, &source, |_| 1.0).max(sum(&rows, client, |_| 1.0));
        report.add(&format!("calls of {client}"), shown.source, "top", Bounds::exactly(count as f64), found);
    }
    let failed = sum(&rows, "", |row| 1.0 - row["success"].as_f64().unwrap_or_default()).round();
    report.add("calls that failed", shown.source, "top", Bounds::exactly(failures as f64), failed);
    Ok(())
}

/// The counts of all rows of a source, with a weight.
fn sum(rows: &Value, source: &str, weight: impl Fn(&Value) -> f64) -> f64 {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter(|row| source.is_empty() || row["source"] == source)
        .map(|row| row["count"].as_f64().unwrap_or_default() * weight(row))
        .sum()
}

impl Top {
    fn start(shown: &Shown) -> Result<Self> {
        let mut child = shown.spawn("top deploy/web --path /top")?;
        let out = child.stdout.take().context("stdout")?;
        let (sender, lines) = mpsc::channel();
        // Ends with the program.
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let sent = serde_json::from_str(&line).map(|line| sender.send(line));
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn line(&self) -> Result<Value> {
        let line = self.lines.recv_timeout(wait::here(LIMIT)).context("top prints nothing")?;
        ensure!(line.is_array(), "{line}");
        Ok(line)
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
