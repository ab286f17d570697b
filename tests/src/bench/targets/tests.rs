//! Checks that the targets name what is measured, and how figures are compared with them.

use super::*;
use crate::bench::{case::CASES, figures::condense, samples::Percentiles, variant::VARIANTS};

/// A row of so many measurements.
fn row<T: Copy>(case: &str, variant: &str, figures: &[T], measurement: fn(T) -> Measurement) -> Row {
    let case = CASES.iter().find(|other| other.name == case).expect("case");
    let variant = VARIANTS.iter().find(|other| other.name == variant).expect("variant");
    let measured: Vec<_> = figures.iter().map(|figure| (measurement(*figure), None)).collect();
    condense(case, variant, &measured)
}

fn p50(p50: f64) -> Measurement {
    Measurement { percentiles: Some(Percentiles { p50, ..Percentiles::default() }), ..Measurement::default() }
}

fn per_second(operations_per_second: f64) -> Measurement {
    Measurement { operations_per_second, ..Measurement::default() }
}

fn megabytes(after: u64) -> Measurement {
    Measurement { resident_before: 10_000_000, resident: after * 1_000_000, ..Measurement::default() }
}

/// The words of the line of `what`, behind it.
fn line(rows: &[Row], what: &str) -> String {
    let text = text(rows);
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(what)).expect("line");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_target_names_cases_and_variants_that_exist() {
    for target in &TARGETS {
        let other = if let Reference::Case(case) = target.reference { Some(case) } else { None };
        for name in [Some(target.case), other].into_iter().flatten() {
            assert!(CASES.iter().any(|case| case.name == name), "{name}");
        }
        assert!(VARIANTS.iter().any(|other| other.name == target.variant), "{}", target.variant);
    }
}

#[test]
fn latency_is_compared_with_the_faster_haproxy_pair() {
    let rows = [
        row("echo-2000", "weft", &[150.0, 160.0], p50),
        row("echo-2000", "haproxy-1", &[200.0, 200.0], p50),
        row("echo-2000", "haproxy", &[300.0, 300.0], p50),
    ];
    assert_eq!(line(&rows, "cross-node, 2000/s: p50"), "155 us haproxy-1 200 us 0.78 0.75-0.80 <= 0.8 met");
}

#[test]
fn throughput_is_compared_with_the_faster_haproxy_pair() {
    let rows = [
        row("bulk-1", "weft", &[10_000.0], per_second),
        row("bulk-1", "haproxy-1", &[5_000.0], per_second),
        row("bulk-1", "haproxy", &[8_000.0], per_second),
    ];
    assert_eq!(
        line(&rows, "cross-node, 1 stream: bulk"),
        "655 MB/s haproxy 524 MB/s 1.25 1.25-1.25 >= 1.4 NOT MET"
    );
}

#[test]
fn a_slow_repetition_slows_both_and_changes_no_verdict() {
    let rows = [
        row("connect-100", "weft", &[1_000.0, 9_000.0, 1_100.0], p50),
        row("connect-100", "haproxy", &[4_000.0, 36_000.0, 4_400.0], p50),
    ];
    assert_eq!(
        line(&rows, "cross-node, new connections, 100/s: p50"),
        "1100 us haproxy 4400 us 0.25 0.25-0.25 <= 0.5 met"
    );
}

#[test]
fn same_node_variants_are_compared_with_direct_on_the_same_node() {
    let rows = [
        row("echo-2000", "direct", &[1.0], p50),
        row("echo-2000", "direct-same-node", &[50.0], p50),
        row("echo-2000", "weft-same-node", &[110.0], p50),
    ];
    assert_eq!(
        line(&rows, "same node, 2000/s: p50"),
        "110 us direct-same-node 50 us 2.20 2.20-2.20 <= 2 NOT MET"
    );
}

#[test]
fn http_on_one_node_is_compared_with_the_pair_between_nodes_and_not_with_nginx() {
    let rows = [
        row("h1-2000", "weft-same-node", &[100.0], p50),
        row("h1-2000", "haproxy", &[200.0], p50),
        row("h1-2000", "nginx", &[150.0], p50),
    ];
    assert_eq!(
        line(&rows, "same node, HTTP/1.1, 2000/s: p50"),
        "100 us haproxy 200 us 0.50 0.50-0.50 <= 0.6 met"
    );
}

#[test]
fn memory_bounds_are_absolute_and_growth_is_compared_with_fewer() {
    let rows = [
        row("workloads-100", "weft", &[20], megabytes),
        row("workloads-500", "weft", &[70], megabytes),
        row("idle-1000", "weft", &[40], megabytes),
    ];
    assert_eq!(line(&rows, "100 idle workloads: memory"), "20.0 MB <= 60 MB met");
    assert_eq!(line(&rows, "1 000 idle connections: growth per node"), "15.0 MB <= 10 MB NOT MET");
    assert_eq!(
        line(&rows, "500 workloads: growth per workload"),
        "120.0 kB workloads-100 100.0 kB 1.20 <= 1.1 NOT MET"
    );
}

#[test]
fn without_the_reference_there_is_no_verdict() {
    let rows = [row("echo-2000", "weft", &[150.0], p50)];
    assert_eq!(line(&rows, "cross-node, 2000/s: p50"), "150 us <= 0.8 not measured");
    assert_eq!(line(&rows, "direct pass, 2000/s: p50"), "<= 1.25 not measured");
}

#[test]
fn columns_are_aligned() {
    let rows = [
        row("echo-2000", "weft", &[150.0], p50),
        row("echo-2000", "haproxy", &[300.0], p50),
        row("echo-max-32", "weft-same-node", &[123_456.0], per_second),
        row("echo-max-32", "direct-same-node", &[234_567.0], per_second),
    ];
    let text = text(&rows);
    let verdict =
        |line: &str| line.find("verdict").or_else(|| line.rfind("not meas")).or_else(|| line.rfind("met"));
    let columns: Vec<_> = text.lines().skip(1).take(TARGETS.len() + 1).map(verdict).collect();
    assert!(columns.iter().all(|column| column.is_some() && *column == columns[0]), "{text}");
}
