//! What the proxies' admin servers say: the states of their pods, and the paths that fail most.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, de::DeserializeOwned};
use weft_api::viz::{ErrorCode, Failure};

use super::directory::Directory;
use crate::{cluster::ClusterView, prometheus::Cache};

const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Proxies that are asked at the same time.
const MAX_CONCURRENT: usize = 32;

/// The node proxies. What they say is kept for a second.
#[derive(Debug)]
pub(crate) struct Proxies {
    directory: Directory,
    http: Client<HttpConnector, Empty<Bytes>>,
    configs: Cache<BTreeMap<String, ProxyConfig>>,
    worst: Cache<HashMap<(String, String), Vec<WorstRow>>>,
}

/// The part of `/config` that is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ProxyConfig {
    /// By `NAMESPACE/POD`.
    #[serde(default)]
    pub(crate) workloads: BTreeMap<String, WorkloadStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WorkloadStatus {
    /// `JOINING`, `SERVED`, `LEAVING` or `REFUSED`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: String,
}

/// A row of `/http/worst.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WorstRow {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
}

impl Proxies {
    pub(crate) fn new(directory: Directory) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        // The admin servers close connections after each answer.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { directory, http, configs: Cache::default(), worst: Cache::default() }
    }

    pub(crate) fn addresses(&self, view: &ClusterView) -> BTreeMap<String, SocketAddr> {
        self.directory.addresses(view)
    }

    /// What each node's proxy says about its pods. A proxy that does not answer is left out.
    pub(crate) async fn configs(&self, view: &ClusterView) -> Arc<BTreeMap<String, ProxyConfig>> {
        let ask = async { Ok(self.ask_all(view, "/config").await.into_iter().collect()) };
        self.configs.get("config".into(), ask).await.unwrap_or_default()
    }

    /// The methods and paths of which requests fail most, by namespace and pod.
    pub(crate) async fn worst(&self, view: &ClusterView) -> Arc<HashMap<(String, String), Vec<WorstRow>>> {
        let ask = async {
            let mut found: HashMap<_, Vec<_>> = HashMap::new();
            for (_, rows) in self.ask_all::<Vec<WorstRow>>(view, "/http/worst.json").await {
                for row in rows {
                    found.entry((row.namespace.clone(), row.pod.clone())).or_default().push(row);
                }
            }
            Ok(found)
        };
        self.worst.get("worst".into(), ask).await.unwrap_or_default()
    }

    /// The text of `/metrics` of one proxy.
    pub(super) async fn metrics(&self, address: SocketAddr) -> Result<Bytes, Failure> {
        self.get(address, "/metrics").await
    }

    async fn ask_all<T: DeserializeOwned>(&self, view: &ClusterView, path: &str) -> Vec<(String, T)> {
        let answers = stream::iter(self.addresses(view)).map(|(node, address)| async move {
            let answer = self.get(address, path).await.and_then(|body| {
                serde_json::from_slice(&body).map_err(|error| failed(address, path, &error))
            });
            match answer {
                Ok(answer) => Some((node, answer)),
                Err(error) => {
                    tracing::debug!(node, %error, "a proxy does not answer");
                    None
                }
            }
        });
        answers.buffer_unordered(MAX_CONCURRENT).filter_map(|answer| async { answer }).collect().await
    }

    async fn get(&self, address: SocketAddr, path: &str) -> Result<Bytes, Failure> {
        let ask = async {
            let request = Request::get(format!("http://{address}{path}"))
                .body(Empty::new())
                .map_err(|error| failed(address, path, &error))?;
            let response = self.http.request(request).await.map_err(|error| failed(address, path, &error))?;
            if !response.status().is_success() {
                return Err(failed(address, path, &response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok(body.map_err(|error| failed(address, path, &error))?.to_bytes())
        };
        match tokio::time::timeout(TIMEOUT, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(address, path, &"no answer within 3 s")),
        }
    }
}

fn failed(address: SocketAddr, path: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Internal, format!("the proxy at {address}{path}: {error}"))
}
