//! Tells the API server which certificate the tap server has: the caBundle of its APIService.
//!
//! Each replica has a certificate of its own and adds it, so that no private key is ever stored or shared. Certificates
//! that have expired are taken out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{ByteString, kube_aggregator::pkg::apis::apiregistration::v1::APIService};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Current, ServingCertificate};

pub(crate) const API_SERVICE: &str = "v1alpha1.tap.linkerd.io";
/// How often the bundle is compared: somebody may have installed the APIService again.
const INTERVAL: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// More than there are replicas, with those of replicas that have been replaced.
const MAX_CERTIFICATES: usize = 16;

/// Keeps the APIService up to date.
pub(super) struct Registration {
    api: Api<APIService>,
    current: Arc<Current>,
    service: String,
    namespace: String,
    registered: Arc<AtomicBool>,
}

impl Registration {
    pub(super) fn new(client: Client, current: Arc<Current>, service: &str, namespace: &str) -> Self {
        let (service, namespace) = (service.to_owned(), namespace.to_owned());
        Self { api: Api::all(client), current, service, namespace, registered: Arc::default() }
    }

    /// Whether the API server has been told.
    pub(super) fn registered(&self) -> Arc<AtomicBool> {
        self.registered.clone()
    }

    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut last_error = String::new();
        let mut next: Option<ServingCertificate> = None;
        loop {
            let result = timeout(ANSWER_TIMEOUT, self.update(next.as_ref()))
                .await
                .unwrap_or_else(|_| Err("the API server did not answer in time".to_owned()));
            let pause = if result.is_ok() { INTERVAL } else { RETRY };
            match result {
                Ok(()) => {
                    self.registered.store(true, Ordering::Relaxed);
                    last_error.clear();
                }
                Err(error) => {
                    if error != last_error {
                        tracing::warn!("cannot update the caBundle of APIService {API_SERVICE}: {error}");
                    }
                    last_error = error;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..=1.25))) => {}
            }
            // The API server has known the next one for a while.
            if last_error.is_empty()
                && let Some(next) = next.take()
            {
                self.current.set(next);
            }
            if next.is_none() && self.current.get().is_old() {
                next = ServingCertificate::make(&self.service, &self.namespace)
                    .inspect_err(|error| tracing::warn!(%error, "cannot make the next certificate"))
                    .ok();
            }
        }
    }

    /// # Errors
    /// Why the APIService is not up to date.
    async fn update(&self, next: Option<&ServingCertificate>) -> Result<(), String> {
        let found = self.api.get(API_SERVICE).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                "it does not exist: install the chart weft-viz completely".to_owned()
            }
            error => error.to_string(),
        })?;
        let before = found.spec.as_ref().and_then(|spec| spec.ca_bundle.clone()).unwrap_or_default();
        let own = [Some(self.current.get().pem), next.map(|next| next.pem.clone())];
        let own: Vec<String> = own.into_iter().flatten().collect();
        let Some(bundle) = bundle(&before.0, &own, time::OffsetDateTime::now_utc().unix_timestamp()) else {
            return Ok(());
        };
        let patch = patch(&found, ByteString(bundle.into_bytes()));
        let patch = serde_json::from_value(patch).map_err(|error| error.to_string())?;
        let patch: Patch<()> = Patch::Json(patch);
        let patched = self.api.patch(API_SERVICE, &PatchParams::default(), &patch).await;
        patched.map_err(|error| error.to_string())?;
        tracing::info!("updated the caBundle of APIService {API_SERVICE}");
        Ok(())
    }
}

/// The operations that set the bundle. They fail if the object changed meanwhile.
fn patch(found: &APIService, bundle: ByteString) -> Value {
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version},
        {"op": "add", "path": "/spec/caBundle", "value": bundle},
    ])
}

/// `before` with `own`, without what has expired. `None`: nothing is to be changed.
fn bundle(before: &[u8], own: &[String], now: i64) -> Option<String> {
    let read = |pem: &[u8]| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
    };
    let listed = read(before);
    let mut kept: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in
        listed.iter().chain(&own.iter().flat_map(|pem| read(pem.as_bytes())).collect::<Vec<_>>())
    {
        let is_valid = X509Certificate::from_der(certificate)
            .is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() > now);
        if is_valid && !kept.contains(certificate) {
            kept.push(certificate.clone());
        }
    }
    // The oldest come first.
    kept.drain(..kept.len().saturating_sub(MAX_CERTIFICATES));
    (kept != listed).then(|| kept.iter().map(|certificate| pem(certificate)).collect())
}

fn pem(certificate: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(certificate);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..(at + 64).min(text.len())]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> String {
        ServingCertificate::make("tap", "weft-viz").unwrap().pem
    }

    fn now() -> i64 {
        time::OffsetDateTime::now_utc().unix_timestamp()
    }

    fn count(bundle: &str) -> usize {
        bundle.matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn each_replica_adds_its_certificate_once() {
        let (one, two) = (own(), own());
        let first = bundle(b"", std::slice::from_ref(&one), now()).unwrap();
        assert_eq!(count(&first), 1);
        assert_eq!(bundle(first.as_bytes(), &[one], now()), None);
        let both = bundle(first.as_bytes(), &[two], now()).unwrap();
        assert_eq!(count(&both), 2);
        assert!(both.starts_with(&first));
    }

    #[test]
    fn expired_and_unreadable_certificates_are_taken_out_and_the_list_is_bounded() {
        let (old, new) = (own(), own());
        let later = now() + 200 * 24 * 3600;
        assert_eq!(bundle(old.as_bytes(), &[new], later), Some(String::new()));
        let mut all = bundle(b"nonsense", &[own()], now()).unwrap();
        for _ in 0..20 {
            all = bundle(all.as_bytes(), &[own()], now()).unwrap();
        }
        assert_eq!(count(&all), MAX_CERTIFICATES);
    }
}
