//! Which workloads does a node have? (`weft.node.v1.Node`)

mod attendance;
mod delta;
mod report;
mod splice;
mod workload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::StreamExt;
use tonic::{Request, Response, Status};
use weft_api::node::{ReportRequest, ReportResponse, Update, WatchRequest, node_server::Node};

pub(crate) use self::{attendance::Attendance, report::ServedFile};
use self::{delta::Deltas, report::instances};
use crate::{
    grpc::{Stream, Streams},
    identity::Tokens,
    index::{Index, Mesh},
    metrics::Metrics,
};

const WATCH: &str = "node.Watch";
const REPORT: &str = "node.Report";

/// The node service.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) index: Arc<Index>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) streams: Streams,
    pub(crate) served: Arc<ServedFile>,
    pub(crate) attendance: Arc<Attendance>,
    pub(crate) metrics: Metrics,
}

impl Nodes {
    /// Whether this request's token is that of the node it is about.
    fn authorize<T>(&self, request: &Request<T>, wanted: &str) -> Result<(), Status> {
        let header = request.metadata().get("authorization").map(|value| value.as_bytes());
        let token = header
            .and_then(|header| header.split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token)
            .ok_or_else(|| Status::unauthenticated("metadata `authorization: Bearer TOKEN` is missing"))?;
        match self.tokens.node_of(token) {
            Some(node) if node == wanted => Ok(()),
            Some(node) => Err(Status::permission_denied(format!(
                "the token is that of node {node}, which may not speak for node {wanted:?}"
            ))),
            None => Err(Status::unauthenticated("the token is not that of any node of this mesh")),
        }
    }
}

#[tonic::async_trait]
impl Node for Nodes {
    type WatchStream = Stream<Update>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Stream<Update>>, Status> {
        let WatchRequest { node, draining } = request.get_ref();
        if let Err(status) = self.authorize(&request, node) {
            tracing::warn!(node, "refused to tell a node's workloads: {}", status.message());
            return Err(self.streams.refuse(WATCH, status));
        }
        tracing::info!(node, draining, "a proxy watches its node's workloads");
        let mut deltas = Deltas::new(node.clone(), self.mesh.clone());
        let stream = self.streams.open(WATCH, move |cluster| deltas.look(cluster))?;
        let present = (!draining).then(|| self.attendance.enter(node));
        let stream = stream.inspect(move |_| {
            // Goes with the stream.
            let _ = &present;
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let mut call = self.metrics.call(REPORT, false);
        let node = request.get_ref().node.clone();
        if let Err(status) = self.authorize(&request, &node) {
            tracing::warn!(node, "refused a node's report: {}", status.message());
            call.code = status.code();
            return Err(status);
        }
        let (served, withdrawn) = instances(&node, request.into_inner().workloads);
        let (index, file, about) = (self.index.clone(), self.served.clone(), node.clone());
        // Building the index and writing the file keep a thread busy.
        let reported = tokio::task::spawn_blocking(move || {
            if index.reported(&node, served, &withdrawn) { file.write(&index) } else { Ok(()) }
        });
        let written = reported.await.map_err(|error| Status::internal(error.to_string()))?;
        // The report holds nevertheless: only a restart of the control plane would forget it.
        written.unwrap_or_else(|error| tracing::error!("cannot keep which pods are served: {error}"));
        self.attendance.reported(&about);
        self.metrics.indexed(&self.index.snapshot());
        Ok(Response::new(ReportResponse {}))
    }
}
