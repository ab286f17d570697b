//! The figures for programs: an array with one object for each case and variant; absent figures are null.

use serde_json::{Value, json};

use super::figures::{Row, Spread};

pub fn array(rows: &[Row]) -> Value {
    rows.iter().map(object).collect()
}

fn object(row: &Row) -> Value {
    let percentiles = row.percentiles;
    let throughput = row.throughput.map(|per_second| row.case.throughput(per_second));
    let ends = |spread: Option<Spread>| spread.map(|spread| [spread.min, spread.max].map(rounded));
    let figure = |value: Option<f64>| value.map(rounded);
    json!({
        "case": row.case.name,
        "variant": row.variant.name,
        "base": row.variant.base,
        "repetitions": row.measured.len(),
        "p50_us": figure(percentiles.map(|p| p.p50)),
        "p90_us": figure(percentiles.map(|p| p.p90)),
        "p99_us": figure(percentiles.map(|p| p.p99)),
        "p999_us": figure(percentiles.map(|p| p.p999)),
        "p50_ratio": figure(row.p50_ratio.map(|spread| spread.median)),
        "p50_ratio_range": ends(row.p50_ratio),
        "throughput": figure(throughput.map(|(value, _)| value)),
        "throughput_unit": throughput.map(|(_, unit)| unit),
        "throughput_ratio": figure(row.throughput_ratio.map(|spread| spread.median)),
        "throughput_ratio_range": ends(row.throughput_ratio),
        "cpu_s_per_10k": figure(row.cpu_per_10k),
        "rss_before_mb": figure(row.resident.map(|(before, _)| before)),
        "rss_mb": figure(row.resident.map(|(_, after)| after)),
    })
}

/// Measurements are less precise than three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        case::CASES,
        figures::{Measurement, condense},
        samples::Percentiles,
        variant::VARIANTS,
    };

    #[test]
    fn an_object_has_every_field_and_nulls() {
        let percentiles = Percentiles { p50: 50.0, p90: 60.0, p99: 70.0, p999: 80.12345 };
        let own = Measurement {
            percentiles: Some(percentiles),
            operations: 10,
            operations_per_second: 5.0,
            ..Measurement::default()
        };
        let case = CASES.iter().find(|case| case.name == "echo-200").expect("case");
        let rows = [
            condense(case, &VARIANTS[1], &[(own, Some(own))]),
            condense(&CASES[0], &VARIANTS[1], &[(own, None)]),
        ];
        let array = array(&rows);
        assert_eq!(array[0]["case"], "echo-200");
        assert_eq!(array[0]["variant"], "weft");
        assert_eq!(array[0]["p50_us"], 50.0);
        assert_eq!(array[0]["p999_us"], 80.123);
        assert_eq!(array[0]["p50_ratio"], 1.0);
        assert_eq!(array[0]["throughput_unit"], "1/s");
        assert_eq!(array[0]["cpu_s_per_10k"], 0.0);
        assert!(array[1]["throughput"].is_null());
        let fields = ["p99_us", "throughput_ratio", "rss_mb"];
        assert!(fields.iter().all(|field| array[1].get(field).is_some()));
    }
}
