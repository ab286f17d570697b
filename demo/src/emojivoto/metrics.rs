//! The metrics of emoji and voting, and the server that shows them.

use std::sync::Arc;

use anyhow::Context;
use hyper::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::http;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of a gRPC server. All clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    service: &'static str,
    calls: Family<Call, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: String,
}

impl Metrics {
    pub(crate) fn new(service: &'static str) -> Self {
        let (mut registry, calls) = (Registry::default(), Family::default());
        registry.register(
            "grpc_server_handled",
            "gRPC calls that were answered, by status code",
            calls.clone(),
        );
        Self { registry: Arc::new(registry), service, calls }
    }

    /// Counts a call.
    pub(crate) fn count<T>(&self, method: &'static str, result: &Result<T, Status>) {
        let code = result.as_ref().map_or_else(|status| status.code(), |_| Code::Ok);
        let call = Call { grpc_service: self.service, grpc_method: method, grpc_code: format!("{code:?}") };
        self.calls.get_or_create(&call).inc();
    }

    /// The page in the OpenMetrics format.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry).context("the metrics cannot be encoded")?;
        Ok(text)
    }

    /// Serves `/metrics` until `stop` changes.
    pub(crate) async fn serve(self, port: u16, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let listener = http::listen(port, "--prom-port (PROM_PORT)").await?;
        let handle = move |request: hyper::Request<_>| {
            let response = match (request.uri().path(), self.text()) {
                ("/metrics", Ok(text)) => http::respond(StatusCode::OK, OPEN_METRICS, text),
                ("/metrics", Err(error)) => {
                    http::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}\n"))
                }
                _ => http::text(StatusCode::NOT_FOUND, "there is only /metrics here\n"),
            };
            async { response }
        };
        http::serve(listener, handle, stop).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let metrics = Metrics::new("emojivoto.v1.VotingService");
        metrics.count("VoteDoughnut", &Err::<(), _>(Status::unknown("ERROR")));
        metrics.count("VotePoop", &Ok(()));
        let text = metrics.text().unwrap();
        for (method, code) in [("VoteDoughnut", "Unknown"), ("VotePoop", "Ok")] {
            let line = format!(
                "grpc_server_handled_total{{grpc_service=\"emojivoto.v1.VotingService\",grpc_method=\"{method}\",grpc_code=\"{code}\"}} 1"
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
