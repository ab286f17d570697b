//! Tells proxies which issuer their certificates should have.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weft_api::node::{Issuer, Update, update::Kind};

use crate::{
    identity::CertificateAuthority,
    index::{Index, Topic},
};

/// The issuer, for the proxy of a node.
#[derive(Debug)]
pub(super) struct IssuerNews {
    authority: Arc<CertificateAuthority>,
    /// The certificate that the proxy was told last.
    sent: Vec<u8>,
}

impl IssuerNews {
    pub(super) fn new(authority: Arc<CertificateAuthority>) -> Self {
        Self { authority, sent: Vec::new() }
    }

    /// Adds the issuer to a stream's next messages if the proxy does not know it yet.
    pub(super) fn add_to(&mut self, messages: &mut Vec<Update>) {
        let now = self.authority.issuer_certificate();
        if self.sent == now {
            return;
        }
        self.sent.clone_from(&now);
        let issuer = Issuer { certificate: now };
        match messages.first_mut() {
            Some(Update { kind: Some(Kind::Snapshot(snapshot)) }) => snapshot.issuer = Some(issuer),
            _ => messages.push(Update { kind: Some(Kind::Issuer(issuer)) }),
        }
    }
}

/// Wakes the streams of all proxies whenever the issuer has changed, until `stop`.
pub(crate) async fn follow_issuers(
    authority: Arc<CertificateAuthority>,
    index: Arc<Index>,
    stop: CancellationToken,
) {
    let mut issuers = authority.subscribe();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = issuers.changed() => match changed {
                Ok(()) => index.wake(Topic::Issuer),
                Err(_) => return,
            },
        }
    }
}
