//! Metrics of the certificates of the node's workloads.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
};

use super::transport::describe;

/// The families `control_identity_cert_*`, one set of series per identity in use.
#[derive(Clone, Debug, Default)]
pub struct IdentityMetrics(Arc<Mutex<BTreeMap<String, Certificate>>>);

#[derive(Clone, Debug, Default)]
struct Certificate {
    expires: Option<Duration>,
    refreshed: Option<Duration>,
    ok: u64,
    error: u64,
}

impl IdentityMetrics {
    /// Records that a certificate was issued.
    pub fn issued(&self, identity: &str, expires: SystemTime) {
        let mut table = self.0.lock();
        let certificate = table.entry(identity.to_owned()).or_default();
        certificate.expires = expires.duration_since(UNIX_EPOCH).ok();
        certificate.refreshed = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        certificate.ok += 1;
    }

    /// Records that no certificate was issued.
    pub fn failed(&self, identity: &str) {
        self.0.lock().entry(identity.to_owned()).or_default().error += 1;
    }

    /// Drops the series of an identity that no workload has any more.
    pub fn remove(&self, identity: &str) {
        self.0.lock().remove(identity);
    }
}

impl Collector for IdentityMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.lock().clone();
        let name = "control_identity_cert_expiration_timestamp_seconds";
        let family = describe(&mut encoder, name, EXPIRES, MetricType::Gauge)?;
        encode_times(family, table.iter().map(|(identity, certificate)| (identity, certificate.expires)))?;
        let name = "control_identity_cert_refresh_timestamp_seconds";
        let family = describe(&mut encoder, name, REFRESHED, MetricType::Gauge)?;
        encode_times(family, table.iter().map(|(identity, certificate)| (identity, certificate.refreshed)))?;
        let name = "control_identity_cert_refreshes";
        let mut family = describe(&mut encoder, name, REFRESHES, MetricType::Counter)?;
        for (identity, certificate) in &table {
            for (result, count) in [("ok", certificate.ok), ("error", certificate.error)] {
                let labels = [("identity", identity.as_str()), ("result", result)];
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 2], u64, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}

fn encode_times<'a>(
    mut family: MetricEncoder<'_>,
    times: impl Iterator<Item = (&'a String, Option<Duration>)>,
) -> fmt::Result {
    for (identity, time) in times {
        if let Some(time) = time {
            let labels = [("identity", identity.as_str())];
            family.encode_family(&labels)?.encode_gauge(&time.as_secs_f64())?;
        }
    }
    Ok(())
}

const EXPIRES: &str = "When the certificate in use expires (Unix time).";
const REFRESHED: &str = "When the certificate in use was issued to this proxy (Unix time).";
const REFRESHES: &str = "The total number of attempts to have a certificate issued.";
