//! What the client of a connection has proven.

use std::sync::Arc;

/// The certificate that a connection's client has proven, in DER.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientCertificate(pub(super) Option<Arc<[u8]>>);
