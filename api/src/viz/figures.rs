//! Figures of traffic. Rates are per second, latencies milliseconds, ratios 0 to 1; `None` means no traffic.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpStats {
    /// Responses that ended within the window. Prometheus extrapolates, so this need not be a whole number.
    pub requests: f64,
    pub failures: f64,
    pub success_rate: Option<f64>,
    pub rps: f64,
    pub latency_ms: LatencyMs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpStats {
    pub open_connections: f64,
    pub read_bytes_per_second: f64,
    pub write_bytes_per_second: f64,
}

/// Values at `from`, `from + step`, …; all lists have the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    pub from: f64,
    pub step: f64,
    pub success_rate: Vec<Option<f64>>,
    pub rps: Vec<Option<f64>>,
    pub p50: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
}

/// The small charts of a row: at most 30 values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spark {
    pub from: f64,
    pub step: f64,
    pub success_rate: Vec<Option<f64>>,
    pub rps: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCount {
    pub meshed: u32,
    pub running: u32,
    /// Pods that should run and do not.
    pub failed: u32,
}

impl TcpStats {
    /// The same connections as their other ends see them: what one reads, the other one has written.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            read_bytes_per_second: self.write_bytes_per_second,
            write_bytes_per_second: self.read_bytes_per_second,
            ..self
        }
    }
}

impl HttpStats {
    /// The figures of this many responses within `seconds`.
    pub fn of(requests: f64, failures: f64, seconds: f64, latency_ms: LatencyMs) -> Self {
        let success_rate = (requests > 0.0).then(|| (1.0 - failures / requests).clamp(0.0, 1.0));
        Self { requests, failures, success_rate, rps: requests / seconds, latency_ms }
    }
}
