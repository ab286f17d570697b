//! Answers `io.linkerd.proxy.tap.Tap/Observe`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, metadata::MetadataValue};
use tracing::info;
use weft_api::{
    linkerd::tap::{ObserveRequest, tap_server::Tap},
    tap,
};

use super::{Taps, events::Events, registry::MAX_TAPS, request::Wanted};

#[derive(Clone)]
pub(super) struct Service {
    pub(super) taps: Arc<Taps>,
    /// Cancelled when the proxy stops serving.
    pub(super) draining: CancellationToken,
}

#[tonic::async_trait]
impl Tap for Service {
    type ObserveStream = Events;

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<Events>, Status> {
        if self.draining.is_cancelled() {
            return Err(Status::unavailable("the proxy ends; open the tap again"));
        }
        let (metadata, _, message) = request.into_parts();
        let wanted = Wanted::read(&metadata, message)?;
        let workloads = wanted.workloads.len();
        let Some((opened, queue)) = self.taps.open(wanted) else {
            let text = format!("{MAX_TAPS} taps of this node are open already; try again when one has ended");
            return Err(Status::resource_exhausted(text));
        };
        info!(tap = opened.id, workloads, "a tap begins");
        let id = opened.id;
        let events = Events::new(self.taps.clone(), opened, queue, self.draining.clone());
        let mut response = Response::new(events);
        response.metadata_mut().insert(tap::TAP_ID, MetadataValue::from(id));
        Ok(response)
    }
}
