//! What a connection has turned out to be, and what serves it from now on.

use std::pin::Pin;

use super::forward::{CloseReason, Forwarding};

pub(super) enum Served {
    /// Its bytes are forwarded.
    Opaque(Forwarding),
    /// Its requests are served.
    Http(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Served {
    /// Serves it to its end. Returns why it ended early, if it was opaque and did.
    pub(super) async fn run(self) -> Option<CloseReason> {
        match self {
            Self::Opaque(forwarding) => {
                let reason = forwarding.await;
                (!matches!(reason, CloseReason::Closed)).then_some(reason)
            }
            Self::Http(http) => {
                http.await;
                None
            }
        }
    }
}
