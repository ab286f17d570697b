//! Prints the figures beside their targets.

use std::time::Duration;

use crate::{
    changes::{Busy, Single},
    objects::{ENDPOINTS, Scale},
};

pub(crate) struct Figures {
    pub(crate) scale: Scale,
    pub(crate) first_sync: Duration,
    /// Memory after the first sync.
    pub(crate) synced: u64,
    /// Memory with all streams, after all changes.
    pub(crate) memory: u64,
    pub(crate) peak: u64,
    pub(crate) streams: usize,
    pub(crate) one: Single,
    pub(crate) busy: Busy,
}

/// A figure of each cluster, and what the last one must not exceed.
struct Row {
    name: String,
    value: fn(&Figures) -> f64,
    unit: &'static str,
    decimals: usize,
    target: Option<f64>,
}

fn rows(last: &Figures) -> Vec<Row> {
    let row = |name: &str, value, unit, decimals, target| Row {
        name: name.to_owned(),
        value,
        unit,
        decimals,
        target,
    };
    vec![
        row("first sync", |f| f.first_sync.as_secs_f64(), "s", 2, Some(10.0)),
        row("memory after it", |f| f.synced as f64 / 1e6, "MB", 0, Some(300.0)),
        row("memory with all streams, after all changes", |f| f.memory as f64 / 1e6, "MB", 0, Some(300.0)),
        row("the most memory", |f| f.peak as f64 / 1e6, "MB", 0, None),
        row(
            &format!("a change reaches every stream ({} of them), median", last.one.subscribers),
            |f| f.one.median.as_secs_f64() * 1e3,
            "ms",
            1,
            Some(100.0),
        ),
        row("the slowest", |f| f.one.slowest.as_secs_f64() * 1e3, "ms", 1, None),
        row("changes a second", |f| f.busy.per_second, "/s", 0, None),
        row("CPU meanwhile", |f| f.busy.cores, "cores", 2, Some(1.0)),
        row(
            "a change reaches every stream meanwhile, median",
            |f| f.busy.median.as_secs_f64() * 1e3,
            "ms",
            1,
            None,
        ),
        row("messages about these changes", |f| f.busy.messages as f64, "", 0, None),
        row("messages that were missing", |f| f.busy.missing as f64, "", 0, Some(0.0)),
    ]
}

pub(crate) fn print(figures: &[Figures], build: &str) {
    let Some(last) = figures.last() else { return };
    println!(
        "\nweft-control ({build} build), real etcd and kube-apiserver on the same machine, {ENDPOINTS} endpoints per service\n"
    );
    let heads: Vec<_> = figures.iter().map(|f| format!("{} pods", f.scale.pods)).collect();
    line("", &heads, "growth", "target", "");
    for (name, number) in [
        ("services", (|f| f.scale.services) as fn(&Figures) -> usize),
        ("nodes", |f| f.scale.nodes),
        ("streams", |f| f.streams),
    ] {
        let values: Vec<_> = figures.iter().map(|f| number(f).to_string()).collect();
        line(name, &values, "", "", "");
    }
    for row in rows(last) {
        let shown = |value: f64| format!("{value:.*} {}", row.decimals, row.unit);
        let values: Vec<_> = figures.iter().map(|f| shown((row.value)(f))).collect();
        let (first, end) = ((row.value)(&figures[0]), (row.value)(last));
        let growth =
            if first > 0.0 && figures.len() > 1 { format!("x {:.1}", end / first) } else { String::new() };
        let (target, met) = match row.target {
            Some(target) => {
                (format!("<= {target} {}", row.unit), if end <= target { "met" } else { "NOT MET" })
            }
            None => (String::new(), ""),
        };
        line(&row.name, &values, &growth, target.trim_end(), met);
    }
    if let [first, .., last] = figures {
        let pods = last.scale.pods as f64 / first.scale.pods as f64;
        println!("\nGrowth is linear where it is at most x {pods:.1}, as the number of pods.");
    }
}

fn line(name: &str, values: &[String], growth: &str, target: &str, met: &str) {
    let values: String = values.iter().map(|value| format!("{value:>14}")).collect();
    println!("{}", format!("{name:<56}{values}{growth:>10}   {target:<12} {met}").trim_end());
}
