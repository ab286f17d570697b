//! Watches what a destination is (`GetProfile`): a service, a pod or neither.

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinSet;
use tonic::{Code, Status};
use weft_api::linkerd::destination::DestinationProfile;

use super::{
    WatchStream,
    endpoints::{EndpointsWatch, GET},
    pause,
    protocol::ProtocolWatch,
};
use crate::{
    control::describe,
    discovery::{
        Config,
        control::ControlPlane,
        destination::Destination,
        published::{GET_PROFILE, Published},
        translate::{self, Profile},
    },
    net::Backoff,
};

/// Watches what the destination is. Returns only if the answer is final.
pub(in crate::discovery) async fn watch_profile(
    dst: SocketAddr,
    published: Arc<Published>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
) {
    ProfileWatch { dst, published, control, config, of_service: JoinSet::new() }.run().await;
}

struct ProfileWatch {
    dst: SocketAddr,
    published: Arc<Published>,
    control: Arc<ControlPlane>,
    config: Arc<Config>,
    /// The watches of its endpoints and of its protocol, while the destination is a service.
    of_service: JoinSet<()>,
}

impl ProfileWatch {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.min_backoff, self.config.max_backoff);
        loop {
            let status = self.follow(&mut backoff).await;
            if self.stream_ended(&status) {
                return;
            }
            pause(&mut backoff, &self.published).await;
        }
    }

    /// Publishes what a stream says, until it ends.
    async fn follow(&mut self, backoff: &mut Backoff) -> Status {
        let mut stream =
            WatchStream::open(self.config.lookup_timeout, self.control.get_profile(self.dst.to_string()))
                .await;
        loop {
            match stream.next().await {
                Ok(message) => {
                    self.control.answered();
                    backoff.reset();
                    self.publish(message);
                }
                Err(status) => return status,
            }
        }
    }

    fn publish(&mut self, message: DestinationProfile) {
        match translate::profile(message, self.dst.port()) {
            Ok(Profile::Service { authority, opaque }) => {
                self.watch_service(authority, opaque);
                self.published.healthy(GET);
            }
            Ok(Profile::Endpoint(endpoint)) => {
                self.of_service.abort_all();
                self.published.answer(Destination::Endpoint(endpoint));
            }
            Ok(Profile::Unknown) => {
                self.of_service.abort_all();
                self.published.answer(Destination::External);
            }
            Err(error) => {
                tracing::warn!(dst = %self.dst, %error, "invalid endpoint from the control plane");
                self.published.failing(GET_PROFILE, &format!("invalid endpoint: {error}"));
            }
        }
    }

    /// Watches the service, unless it is watched already.
    fn watch_service(&mut self, authority: String, opaque: bool) {
        let Some(service) = self.published.is_service(&authority, opaque) else { return };
        let protocol = ProtocolWatch {
            dst: self.dst,
            service: service.clone(),
            published: self.published.clone(),
            control: self.control.clone(),
            config: self.config.clone(),
        };
        let endpoints = EndpointsWatch {
            dst: self.dst,
            authority,
            service,
            published: self.published.clone(),
            control: self.control.clone(),
            config: self.config.clone(),
        };
        self.of_service = JoinSet::new();
        self.of_service.spawn(protocol.run());
        self.of_service.spawn(endpoints.run());
    }

    /// Returns whether the answer is final.
    fn stream_ended(&mut self, status: &Status) -> bool {
        match status.code() {
            // The mesh will never resolve such an address.
            Code::InvalidArgument | Code::FailedPrecondition if !self.published.has_answer() => {
                tracing::debug!(dst = %self.dst, %status, "not a destination of the mesh");
                self.control.answered();
                self.published.answer(Destination::External);
                return true;
            }
            Code::NotFound => {
                self.of_service.abort_all();
                self.control.answered();
                self.published.answer(Destination::External);
            }
            _ => {
                self.control.failed(GET_PROFILE, &self.dst.to_string(), status);
                self.published.failing(GET_PROFILE, &describe(status));
            }
        }
        false
    }
}
