//! The figures as a table for people.

use std::fmt::Write;

use super::figures::{Row, Spread};

const HEADS: [&str; 11] = [
    "",
    "p50 us",
    "p90",
    "p99",
    "p99.9",
    "x direct",
    "spread",
    "throughput",
    "x direct",
    "spread",
    "cpu s/10k",
];

const MEMORY_HEADS: [&str; 4] = ["before MB", "after MB", "growth MB", "kB each"];

/// A block for each case, a line for each variant; memory in a block of its own.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let (moving, still): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.throughput.is_some());
    if !moving.is_empty() {
        line(&mut text, &HEADS.map(str::to_owned));
    }
    let mut last = "";
    for row in moving {
        if row.case.name != last {
            last = row.case.name;
            let _ = writeln!(text, "{last}");
        }
        line(&mut text, &cells(row));
    }
    if !still.is_empty() {
        memory_line(
            &mut text,
            "memory of both proxies (workloads-*: of one node's)",
            &MEMORY_HEADS.map(str::to_owned),
        );
    }
    for row in still {
        let Some((before, after)) = row.resident else { continue };
        let what = format!("{} {}", row.case.name, row.variant.name);
        let growth = after - before;
        let each = growth * 1e3 / row.case.work.units() as f64;
        memory_line(&mut text, &what, &[before, after, growth, each].map(|value| format!("{value:.1}")));
    }
    text
}

fn cells(row: &Row) -> [String; 11] {
    let microseconds = |value: Option<f64>| value.map(|value| format!("{value:.0}")).unwrap_or_default();
    let of = row.percentiles;
    let median = |spread: Option<Spread>| spread.map(|s| format!("{:.2}", s.median)).unwrap_or_default();
    let ends = |spread: Option<Spread>| spread.map(Spread::range).unwrap_or_default();
    let throughput = row.throughput.map(|per_second| row.case.throughput(per_second));
    [
        row.variant.name.to_owned(),
        microseconds(of.map(|p| p.p50)),
        microseconds(of.map(|p| p.p90)),
        microseconds(of.map(|p| p.p99)),
        microseconds(of.map(|p| p.p999)),
        median(row.p50_ratio),
        ends(row.p50_ratio),
        throughput.map(|(value, unit)| format!("{value:.0} {unit}")).unwrap_or_default(),
        median(row.throughput_ratio),
        ends(row.throughput_ratio),
        row.cpu_per_10k.map(|seconds| format!("{seconds:.2}")).unwrap_or_default(),
    ]
}

fn line(text: &mut String, cells: &[String; 11]) {
    const WIDTHS: [usize; 10] = [8, 8, 8, 8, 9, 12, 13, 9, 12, 10];
    let _ = write!(text, "  {:<25}", cells[0]);
    for (cell, width) in cells[1..].iter().zip(WIDTHS) {
        let _ = write!(text, "{cell:>width$}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn memory_line(text: &mut String, what: &str, cells: &[String; 4]) {
    let _ = write!(text, "  {what:<52}");
    for cell in cells {
        let _ = write!(text, "{cell:>11}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        case::CASES,
        figures::{Measurement, condense},
        variant::VARIANTS,
    };

    #[test]
    fn a_case_is_a_block_and_memory_comes_last() {
        let moving = Measurement { operations: 1, operations_per_second: 10.0, ..Measurement::default() };
        let still = Measurement { resident_before: 1_000_000, resident: 3_500_000, ..Measurement::default() };
        let last = CASES[CASES.len() - 1];
        let rows = [
            condense(&CASES[1], &VARIANTS[1], &[(still, None)]),
            condense(&last, &VARIANTS[0], &[(moving, None)]),
            condense(&last, &VARIANTS[1], &[(moving, Some(moving))]),
        ];
        let text = text(&rows);
        assert_eq!(text.matches(last.name).count(), 1);
        assert!(text.contains("1 MB/s"));
        assert!(text.trim_end().ends_with("2.5        5.0"), "{text}");
    }
}
