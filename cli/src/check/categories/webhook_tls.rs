//! Verifies what the webhook shows as the API server does, and explains what is wrong with it.

use std::{io, sync::Arc};

use anyhow::{Context, Result, anyhow};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// Who the webhook has to be.
pub(super) struct Verifier {
    connector: TlsConnector,
    host: String,
    name: ServerName<'static>,
}

impl Verifier {
    /// `namespace` is the control plane's.
    pub(super) fn new(anchors: Vec<CertificateDer<'static>>, namespace: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor).context("the trust anchors")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = format!("weft-policy-validator.{namespace}.svc");
        let name = ServerName::try_from(host.clone()).with_context(|| host.clone())?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host, name })
    }

    /// Begins TLS with the webhook of a pod.
    pub(super) async fn verify(&self, pod: &str, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
        let Err(error) = self.connector.connect(self.name.clone(), stream).await else { return Ok(()) };
        let explained = explain(&error).map_or_else(String::new, |text| format!(": {text}"));
        Err(anyhow!("the webhook of the pod {pod} is not what {} should be{explained} ({error})", self.host))
    }
}

/// What is wrong, and where to look.
fn explain(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(reason) = error else {
        return Some("it does not speak TLS as it should; does something else use its port?");
    };
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(
            "its certificate has expired; weft-control renews it by itself, so look at its log and at its node's clock",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("its certificate is not valid yet; compare the clocks of its node and of this machine")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("its certificate is for another name; does something else use its port?")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(
            "no trust anchor of the mesh has signed its certificate; weft-control makes it with the issuer that it has \
             read, so look at its log",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
