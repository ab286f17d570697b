//! The validating webhook: refuses policies with mistakes before they are stored.
//!
//! The API server sends it each policy that somebody creates or changes. Whether it is asked is a matter of the
//! ValidatingWebhookConfiguration; what it answers depends on nothing but the object. There is no mutating webhook.

mod registration;
mod review;
mod server;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::registration::Registration;
use crate::{
    identity::{CertificateAuthority, CertificateAuthorityError, OwnCertificate},
    mesh::Mesh,
    metrics::Metrics,
};

/// The service that the API server connects to.
const SERVICE: &str = "weft-policy-validator";
/// Renewed long before: after 70 % of this time.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Webhook {
    certificate: Arc<OwnCertificate>,
    registration: Registration,
    metrics: Metrics,
}

impl Webhook {
    pub(crate) fn new(
        mesh: &Mesh,
        authority: Arc<CertificateAuthority>,
        client: Client,
        metrics: Metrics,
    ) -> Result<Self, CertificateAuthorityError> {
        let name = format!("{SERVICE}.{}.svc", mesh.control_plane_namespace);
        let certificate =
            OwnCertificate::of_webhook(name, authority.clone(), CERTIFICATE_LIFETIME, metrics.clone())?;
        let registration = Registration::new(client, authority, metrics.clone());
        Ok(Self { certificate: Arc::new(certificate), registration, metrics })
    }

    /// Answers reviews until `stop`, and a moment longer.
    pub(crate) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let Self { certificate, registration, metrics } = self;
        tokio::join!(
            server::serve(listener, certificate.clone(), metrics, stop.clone()),
            certificate.run(stop.clone()),
            registration.run(stop),
        );
    }
}
