//! Asks a Prometheus.

mod answer;
mod cache;
mod client;
mod credentials;
mod transport;

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use weft_api::viz::{ErrorCode, Failure};

pub(crate) use self::cache::Cache;
pub(crate) use self::{
    client::{Client, PrometheusError},
    credentials::Credentials,
};
use crate::{
    metrics::Metrics,
    query::{Kind, Line, Query, Sample, Times},
};

/// Questions that Prometheus works on at the same time. Others wait.
const MAX_CONCURRENT: usize = 16;
/// For how long the configuration of Prometheus is taken to be the same.
const CONFIGURATION_AGE: Duration = Duration::from_secs(60);

/// A Prometheus, behind a cache.
#[derive(Debug)]
pub(crate) struct Prometheus {
    client: Client,
    samples: Cache<Vec<Sample>>,
    lines: Cache<Vec<Line>>,
    retention: Cache<Option<f64>>,
    permits: Semaphore,
    metrics: Metrics,
}

impl Prometheus {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            samples: Cache::default(),
            lines: Cache::default(),
            retention: Cache::with_age(CONFIGURATION_AGE),
            permits: Semaphore::new(MAX_CONCURRENT),
            metrics,
        }
    }

    /// The values of all groups at a time.
    pub(crate) async fn instant(&self, query: &Query, at: u64) -> Result<Arc<Vec<Sample>>, Failure> {
        let text = query.to_string();
        let key = format!("{at} {text}");
        let ask = async {
            let body = self.ask("query", &[("query", &text), ("time", &at.to_string())]).await?;
            answer::samples(&body).map_err(|error| self.nonsense(&error))
        };
        self.samples.get(key, ask).await
    }

    /// The values of all groups at regular times.
    pub(crate) async fn range(&self, query: &Query, times: Times) -> Result<Arc<Vec<Line>>, Failure> {
        let text = query.to_string();
        let key = format!("{times:?} {text}");
        let ask = async {
            let (from, to, step) = (times.from.to_string(), times.to.to_string(), times.step.to_string());
            let parameters = [("query", &text), ("start", &from), ("end", &to), ("step", &step)];
            let body =
                self.ask("query_range", &parameters.map(|(name, value)| (name, value.as_str()))).await?;
            answer::lines(&body, times).map_err(|error| self.nonsense(&error))
        };
        self.lines.get(key, ask).await
    }

    /// How long Prometheus keeps figures, in seconds, if it says so.
    pub(crate) async fn retention(&self) -> Result<Option<f64>, Failure> {
        let ask = async { Ok(answer::retention(&self.ask("status/runtimeinfo", &[]).await?)) };
        self.retention.get(String::new(), ask).await.map(|retention| *retention)
    }

    /// Fails unless Prometheus answers a small question within `limit`. It does not wait for other questions.
    pub(crate) async fn probe(&self, limit: Duration) -> Result<(), Failure> {
        let question = Query::new("up", Kind::Sum).to_string();
        let parameters = [("query", question.as_str())];
        let asked = tokio::time::timeout(limit, self.client.get("query", &parameters)).await;
        let body = asked.unwrap_or(Err(PrometheusError::Timeout(limit)));
        let found = body.and_then(|body| answer::samples(&body));
        found.map(drop).map_err(|error| {
            self.metrics.prometheus_failed(error.reason());
            unavailable(&self.client, &error)
        })
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(Failure::new(ErrorCode::Internal, "weft-viz is shutting down"));
        };
        let start = std::time::Instant::now();
        let result = self.client.get(path, parameters).await;
        self.metrics.prometheus_asked(start.elapsed(), result.as_ref().err().map(PrometheusError::reason));
        result.map_err(|error| {
            tracing::warn!(%error, path, "Prometheus cannot be asked");
            unavailable(&self.client, &error)
        })
    }

    fn nonsense(&self, error: &PrometheusError) -> Failure {
        tracing::warn!(%error, "Prometheus answers nonsense");
        self.metrics.prometheus_failed(error.reason());
        unavailable(&self.client, error)
    }
}

fn unavailable(client: &Client, error: &PrometheusError) -> Failure {
    let message = format!("Prometheus at {} {error}.", client.name());
    let hint = match error {
        PrometheusError::TooLarge(_) | PrometheusError::TooManySeries(_) => {
            "Choose one namespace or a shorter time range."
        }
        PrometheusError::Timeout(_) => {
            "Choose a shorter time range, or give Prometheus more CPU time and memory."
        }
        PrometheusError::Transport(_) => {
            "Mend the file of --prometheus-ca (prometheusCAConfigMap of the chart)."
        }
        PrometheusError::Status { status: 401 | 403, .. } => {
            "Check the credentials: prometheusCredsSecret of the chart, or --prometheus-user and its password."
        }
        _ => {
            "Look at the pods of the viz extension with `weft viz check`, and at the address given by --prometheus-url."
        }
    };
    let code = match error {
        PrometheusError::Timeout(_) => ErrorCode::Timeout,
        _ => ErrorCode::PrometheusUnavailable,
    };
    Failure::new(code, message).hint(hint)
}
