//! The issuer that signs the mesh's certificates now, as the control plane says.

use std::sync::Arc;

use tokio::sync::watch;

/// The certificate (DER) of the issuer, once the control plane has told it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CurrentIssuer(watch::Sender<Option<Arc<[u8]>>>);

impl CurrentIssuer {
    /// The control plane has named its issuer.
    pub fn set(&self, certificate: Vec<u8>) {
        if certificate.is_empty() || certificate.len() > MAX_CERTIFICATE {
            tracing::warn!(
                bytes = certificate.len(),
                "the control plane names an issuer that is no certificate"
            );
            return;
        }
        self.0.send_if_modified(|current| {
            let is_new = current.as_deref() != Some(certificate.as_slice());
            if is_new {
                *current = Some(certificate.into());
            }
            is_new
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.0.subscribe()
    }
}

/// Certificates have one or two KiB.
const MAX_CERTIFICATE: usize = 64 << 10;
