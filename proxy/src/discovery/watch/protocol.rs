//! Watches what a service declares about its protocol (`OutboundPolicies.Watch`).

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use tonic::{Code, Status};

use super::{WatchStream, pause};
use crate::{
    discovery::{
        Config, control::ControlPlane, destination::ServiceEndpoints, published::Published, translate,
    },
    net::Backoff,
    policy::DeclaredProtocol,
};

/// The call, as logs and metrics name it.
const WATCH_POLICY: &str = "OutboundPolicies.Watch";
/// When to ask again a control plane that does not know a call: it may have been replaced by a newer one.
const UNKNOWN_CALL_PAUSE: Duration = Duration::from_secs(60);

/// The watch of a service that a destination is. Connections do not wait long for what it says, and never depend on it:
/// without an answer, the protocol is detected.
pub(super) struct ProtocolWatch {
    pub(super) dst: SocketAddr,
    pub(super) service: ServiceEndpoints,
    pub(super) published: Arc<Published>,
    pub(super) control: Arc<ControlPlane>,
    pub(super) config: Arc<Config>,
}

impl ProtocolWatch {
    /// Does not return.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.config.min_backoff, self.config.max_backoff);
        loop {
            let Err(status) = self.follow(&mut backoff).await;
            self.stream_ended(&status);
            match status.code() {
                Code::Unimplemented => tokio::time::sleep(UNKNOWN_CALL_PAUSE).await,
                _ => pause(&mut backoff, &self.published).await,
            }
        }
    }

    /// Publishes what a stream says, until it ends.
    async fn follow(&self, backoff: &mut Backoff) -> Result<Infallible, Status> {
        // The call and its first message, both within the time of the lookup.
        let limit = self.config.lookup_timeout / 3;
        let mut stream = WatchStream::open(limit, self.control.watch_policy(self.dst)).await;
        loop {
            let policy = stream.next().await?;
            self.control.answered();
            backoff.reset();
            self.published.declares(&self.service, Some(translate::declared(policy)));
        }
    }

    fn stream_ended(&self, status: &Status) {
        let declared = match status.code() {
            Code::Unimplemented => {
                tracing::debug!(dst = %self.dst, %status, "the control plane knows no declared protocols");
                Some(DeclaredProtocol::Detect)
            }
            // The service has just gone, or is another one now: its profile will say so.
            Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition => {
                Some(DeclaredProtocol::Detect)
            }
            _ => {
                self.control.failed(WATCH_POLICY, &self.dst.to_string(), status);
                None
            }
        };
        self.published.declares(&self.service, declared);
    }
}
