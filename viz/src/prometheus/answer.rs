//! Reads Prometheus' answers.

use serde::Deserialize;

use super::client::{MAX_SERIES, PrometheusError};
use crate::query::{Labels, Line, Sample, Times};

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<T>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
}

#[derive(Deserialize)]
struct Instant {
    metric: Labels,
    value: (f64, String),
}

#[derive(Deserialize)]
struct Range {
    metric: Labels,
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    storage_retention: Option<String>,
}

/// The groups that have a value. NaN, as for a quantile without requests, is none.
pub(super) fn samples(body: &[u8]) -> Result<Vec<Sample>, PrometheusError> {
    match data(body)? {
        Data::Vector(found) => limited(&found).map(|()| {
            found
                .into_iter()
                .filter_map(|Instant { metric, value }| {
                    Some(Sample { labels: metric, value: number(&value.1)? })
                })
                .collect()
        }),
        Data::Matrix(_) => Err(PrometheusError::Nonsense("a matrix instead of a vector".into())),
    }
}

pub(super) fn lines(body: &[u8], times: Times) -> Result<Vec<Line>, PrometheusError> {
    let Data::Matrix(found) = data(body)? else {
        return Err(PrometheusError::Nonsense("a vector instead of a matrix".into()));
    };
    limited(&found)?;
    let line = |Range { metric, values }: Range| {
        let mut all = vec![None; times.count()];
        for (at, value) in values {
            let index = (at - times.from as f64) / times.step as f64;
            if index >= 0.0
                && let Some(place) = all.get_mut(index.round() as usize)
            {
                *place = number(&value);
            }
        }
        Line { labels: metric, values: all }
    };
    Ok(found.into_iter().map(line).collect())
}

/// The first part of a text such as `6h` or `6h or 4GiB`.
pub(super) fn retention(body: &[u8]) -> Option<f64> {
    let info: Envelope<RuntimeInfo> = serde_json::from_slice(body).ok()?;
    let text = info.data?.storage_retention?;
    let mut seconds = 0.0;
    let mut digits = String::new();
    let mut chars = text.split_whitespace().next()?.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let number: f64 = std::mem::take(&mut digits).parse().ok()?;
        seconds += number
            * match c {
                'y' => 365.0 * 86_400.0,
                'w' => 7.0 * 86_400.0,
                'd' => 86_400.0,
                'h' => 3600.0,
                'm' if chars.next_if_eq(&'s').is_some() => 0.001,
                'm' => 60.0,
                's' => 1.0,
                _ => return None,
            };
    }
    (seconds > 0.0).then_some(seconds)
}

fn data(body: &[u8]) -> Result<Data, PrometheusError> {
    let nonsense = |text: String| PrometheusError::Nonsense(text);
    let envelope: Envelope<Data> =
        serde_json::from_slice(body).map_err(|error| nonsense(error.to_string()))?;
    match envelope.data {
        Some(data) if envelope.status == "success" => Ok(data),
        _ => Err(nonsense(format!("status {:?} {}", envelope.status, envelope.error))),
    }
}

fn limited<T>(found: &[T]) -> Result<(), PrometheusError> {
    if found.len() > MAX_SERIES {
        return Err(PrometheusError::TooManySeries(MAX_SERIES));
    }
    Ok(())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"pod":"a"},"value":[1.5,"2"]},{"metric":{"pod":"b"},"value":[1.5,"NaN"]},
            {"metric":{},"value":[1.5,"+Inf"]}]}}"#;
        let found = samples(body).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].labels["pod"].as_str(), found[0].value), ("a", 2.0));
    }

    #[test]
    fn a_series_has_gaps_where_there_was_nothing() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{},"values":[[100,"1"],[120.0,"3"],[130,"NaN"],[999,"9"]]}]}}"#;
        let found = lines(body, Times { from: 100, to: 130, step: 10 }).unwrap();
        assert_eq!(found[0].values, [Some(1.0), None, Some(3.0), None]);
    }

    #[test]
    fn what_is_not_of_the_api_is_an_error() {
        for body in [
            "<html>hello</html>",
            "{}",
            "[]",
            r#"{"status":"error","error":"no"}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
        ] {
            assert!(matches!(samples(body.as_bytes()), Err(PrometheusError::Nonsense(_))), "{body}");
        }
    }

    #[test]
    fn the_retention_is_read_in_seconds() {
        let of = |text: &str| {
            retention(format!(r#"{{"status":"success","data":{{"storageRetention":"{text}"}}}}"#).as_bytes())
        };
        assert_eq!(of("6h"), Some(21_600.0));
        assert_eq!(of("1d12h or 4GiB"), Some(129_600.0));
        assert_eq!(of("4GiB"), None);
    }
}
