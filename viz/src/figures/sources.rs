//! Chooses who answers: Prometheus, or the proxies themselves while Prometheus does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use weft_api::viz::{ErrorCode, Failure};

use super::Figures;
use crate::{
    cluster::Cluster,
    prometheus::{Cache, Prometheus},
    proxies::{Proxies, Scrapes},
};

/// How often Prometheus is asked whether it answers.
const INTERVAL: Duration = Duration::from_secs(5);
/// Within this time it has to answer a small question.
const LIMIT: Duration = Duration::from_secs(3);
/// After this time it is asked again before it is taken to be away.
const SECOND_TRY: Duration = Duration::from_millis(500);
/// For so long a call waits for the first figures of the proxies.
const FIRST_FIGURES: Duration = Duration::from_secs(6);

/// Prometheus and the proxies.
#[derive(Debug)]
pub(crate) struct Sources {
    prometheus: Option<Arc<Prometheus>>,
    scrapes: Arc<Scrapes>,
    scrape_interval: Duration,
    outage: Mutex<Outage>,
    /// Whether the proxies have to be scraped.
    scrapes_needed: watch::Sender<bool>,
    /// Those who ask whether Prometheus answers at the same time share one question.
    probes: Cache<()>,
}

#[derive(Debug, Default)]
struct Outage {
    was_asked: bool,
    /// Why Prometheus does not answer. It stays until Prometheus has scraped the proxies again.
    failure: Option<Failure>,
    answers_since: Option<Instant>,
}

impl Sources {
    /// Without Prometheus, the proxies are always asked.
    pub(crate) fn new(prometheus: Option<Prometheus>, scrape_interval: Duration) -> Self {
        Self {
            scrapes_needed: watch::Sender::new(prometheus.is_none()),
            prometheus: prometheus.map(Arc::new),
            scrapes: Arc::default(),
            scrape_interval,
            outage: Mutex::default(),
            probes: Cache::with_age(Duration::ZERO),
        }
    }

    /// Watches Prometheus, and scrapes the proxies while it does not answer. Runs until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, proxies: Arc<Proxies>, cluster: Arc<Cluster>) {
        let scrapes = self.scrapes.clone().run(proxies, cluster, self.scrapes_needed.subscribe());
        let watch = async {
            loop {
                let _ = self.check().await;
                tokio::time::sleep(INTERVAL).await;
            }
        };
        futures::join!(scrapes, watch);
    }

    /// Who answers a call that begins now.
    pub(crate) fn current(&self) -> Figures {
        match &self.prometheus {
            Some(prometheus) if self.outage().is_none() || !self.scrapes.has_figures() => {
                Figures::Prometheus(prometheus.clone())
            }
            _ => Figures::Proxies(self.scrapes.clone()),
        }
    }

    pub(crate) fn is_configured(&self) -> bool {
        self.prometheus.is_some()
    }

    /// Why Prometheus is not asked although there is one.
    pub(crate) fn outage(&self) -> Option<Failure> {
        self.outage.lock().failure.clone()
    }

    /// Returns as soon as the proxies answer in place of Prometheus, which may be never.
    pub(crate) async fn lost(&self) {
        let mut needed = self.scrapes_needed.subscribe();
        let _ = needed.wait_for(|needed| *needed).await;
        if !self.scrapes.wait().await {
            std::future::pending::<()>().await;
        }
    }

    /// After a failure: whether the proxies answer in place of Prometheus. They do not if Prometheus only failed to answer
    /// one question.
    pub(crate) async fn are_replaced(&self) -> bool {
        if self.prometheus.is_none() || (self.outage().is_none() && self.check().await.is_ok()) {
            return false;
        }
        tokio::time::timeout(FIRST_FIGURES, self.scrapes.wait()).await.unwrap_or(false)
    }

    /// Asks whether Prometheus answers now.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let Some(prometheus) = &self.prometheus else { return Ok(()) };
        let is_known = self.outage().is_some();
        let ask = async {
            match prometheus.probe(LIMIT).await {
                Err(_) if !is_known => {
                    tokio::time::sleep(SECOND_TRY).await;
                    prometheus.probe(LIMIT).await
                }
                answer => answer,
            }
        };
        let answer = self.probes.get(String::new(), ask).await.map(drop);
        self.learn(answer.as_ref().err());
        answer
    }

    /// Whether Prometheus is asked.
    pub(crate) async fn has_prometheus(&self) -> bool {
        if !self.outage.lock().was_asked {
            let _ = self.check().await;
        }
        self.prometheus.is_some() && self.outage().is_none()
    }

    /// How long figures are kept, in seconds.
    pub(crate) async fn retention(&self) -> Result<Option<f64>, Failure> {
        match &self.prometheus {
            Some(prometheus) => prometheus.retention().await,
            None => Err(Failure::new(ErrorCode::PrometheusUnavailable, "Prometheus is not configured.")),
        }
    }

    fn learn(&self, failure: Option<&Failure>) {
        let mut outage = self.outage.lock();
        let was_away = outage.failure.is_some();
        outage.was_asked = true;
        match failure {
            Some(failure) => {
                outage.failure = Some(failure.clone());
                outage.answers_since = None;
            }
            None => {
                // It has no figures of now until it has scraped the proxies twice.
                let since = *outage.answers_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= 2 * self.scrape_interval {
                    outage.failure = None;
                }
            }
        }
        let is_away = outage.failure.is_some();
        drop(outage);
        match failure {
            Some(failure) if !was_away => {
                tracing::warn!(%failure, "Prometheus does not answer; asking the proxies instead");
            }
            _ if was_away && !is_away => tracing::info!("Prometheus answers again"),
            _ => {}
        }
        self.scrapes_needed.send_if_modified(|needed| std::mem::replace(needed, is_away) != is_away);
    }
}
