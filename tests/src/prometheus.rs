//! Asks a Prometheus, of the dev VM or any other.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weft_vm::{http, viz::Prometheus};

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The values of a query now.
pub fn query(prometheus: &Prometheus, query: &str) -> Result<Vec<Sample>> {
    query_at(prometheus.address(), query)
}

/// The same, of a Prometheus at an address.
pub fn query_at(prometheus: SocketAddr, query: &str) -> Result<Vec<Sample>> {
    let data = ask(prometheus, "/api/v1/query", &[("query", query)])?;
    let items = match data["resultType"].as_str() {
        Some("scalar") => vec![json!({"metric": {}, "value": data["result"]})],
        _ => data["result"].as_array().cloned().unwrap_or_default(),
    };
    items.iter().map(sample).collect()
}

/// The values that a label has in the series of a selector.
pub fn label_values(prometheus: &Prometheus, series: &str, label: &str) -> Result<Vec<String>> {
    let data = ask(prometheus.address(), &format!("/api/v1/label/{label}/values"), &[("match[]", series)])?;
    serde_json::from_value(data).context("label values")
}

fn ask(prometheus: SocketAddr, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(parameters);
    let answer = http::get(prometheus, &format!("{path}?{}", encoded.finish()))?;
    let body: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    ensure!(body["status"] == "success", "{}", body["error"]);
    Ok(body["data"].clone())
}

fn sample(item: &Value) -> Result<Sample> {
    let labels = serde_json::from_value(item["metric"].clone())?;
    let value = item["value"][1].as_str().context("a sample without a value")?;
    Ok(Sample { labels, value: value.parse()? })
}
