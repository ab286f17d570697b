//! The node service, which tells proxies the workloads of their node (`weft.node.v1.Node`).

mod delta;
mod issuer;
mod presence;
mod report;
mod splice;
mod workload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::StreamExt;
use tonic::{Request, Response, Status};
use weft_api::node::{
    ReportRequest, ReportResponse, Snapshot, Update, WatchRequest, node_server::Node, update::Kind,
};

use self::{delta::Deltas, issuer::IssuerNews, report::instances};
pub(crate) use self::{issuer::follow_issuers, presence::ProxyPresence, report::ServedFile};
use crate::{
    identity::{Authenticator, Caller, CertificateAuthority},
    index::{Index, Topic},
    mesh::Mesh,
    metrics::Metrics,
    readiness::Readiness,
    streams::{Stream, Streams},
};

const WATCH: &str = "node.Watch";
const REPORT: &str = "node.Report";

#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) index: Arc<Index>,
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) authenticator: Authenticator,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) streams: Streams,
    pub(crate) served: Arc<ServedFile>,
    pub(crate) presence: Arc<ProxyPresence>,
    pub(crate) metrics: Metrics,
}

impl Nodes {
    /// Checks that the request has the token of the node that it is about.
    async fn authorize<T>(&self, request: &Request<T>, wanted: &str) -> Result<(), Status> {
        let header = request.metadata().get("authorization").map(|value| value.as_bytes());
        let token = header
            .and_then(|header| header.split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token)
            .ok_or_else(|| Status::unauthenticated("metadata `authorization: Bearer TOKEN` is missing"))?;
        match self
            .authenticator
            .authenticate(token)
            .await
            .inspect_err(|error| self.refused(error.reason()))?
        {
            Caller::NodeProxy { node } if node == wanted => Ok(()),
            Caller::NodeProxy { node } => {
                self.refused("other_node");
                let text = format!("the token of node {node} gives no access to node {wanted:?}");
                Err(Status::permission_denied(text))
            }
            Caller::Workload { namespace, service_account } => {
                self.refused("not_the_proxy");
                let text = format!(
                    "the token of the service account {namespace}/{service_account} gives no access: only node \
                     proxies have it"
                );
                Err(Status::permission_denied(text))
            }
        }
    }

    fn refused(&self, reason: &'static str) {
        self.metrics.node_call_refused(reason);
    }

    /// A stream of the node's workloads, and of the issuer that their certificates should have.
    fn workload_stream(&self, node: &str) -> Result<Stream<Update>, Status> {
        let mut deltas = Deltas::new(node.to_owned(), self.mesh.clone());
        let mut issuer = IssuerNews::new(self.authority.clone());
        let topics = [deltas.topics(), vec![Topic::Issuer]].concat();
        self.streams.open(WATCH, topics, move |cluster| {
            let mut messages = deltas.update(cluster);
            issuer.add_to(&mut messages);
            messages
        })
    }

    /// A stream that is open from the start, and says by an empty snapshot that this replica is ready.
    fn presence_stream(&self) -> Result<Stream<Update>, Status> {
        let mut message = Some(Update { kind: Some(Kind::Snapshot(Snapshot::default())) });
        self.streams.open_early(WATCH, Vec::new(), move |_| message.take().into_iter().collect())
    }
}

#[tonic::async_trait]
impl Node for Nodes {
    type WatchStream = Stream<Update>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Stream<Update>>, Status> {
        let WatchRequest { node, draining, presence_only } = request.get_ref();
        if let Err(status) = self.authorize(&request, node).await {
            tracing::warn!(node, "refused a request to watch a node's workloads: {}", status.message());
            return Err(self.streams.refuse(WATCH, status));
        }
        let stream = match presence_only {
            true => self.presence_stream()?,
            false => self.workload_stream(node)?,
        };
        tracing::info!(node, draining, presence_only, "a proxy watches its node's workloads");
        let guard = (!draining).then(|| self.presence.enter(node));
        let stream = stream.inspect(move |_| {
            // Captured so that it is dropped with the stream.
            let _ = &guard;
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let mut call = self.metrics.call(REPORT, false);
        let node = request.get_ref().node.clone();
        if let Err(status) = self.authorize(&request, &node).await {
            tracing::warn!(node, "refused a node's report: {}", status.message());
            call.code = status.code();
            return Err(status);
        }
        let (served, withdrawn) = instances(&node, request.into_inner().workloads);
        let (index, file, reporter) = (self.index.clone(), self.served.clone(), node.clone());
        // Building the index and writing the file keep a thread busy.
        let reported = tokio::task::spawn_blocking(move || {
            if index.report(&reporter, served, &withdrawn) {
                file.write_or_log(&index);
            }
        });
        reported.await.map_err(|error| Status::internal(error.to_string()))?;
        if self.presence.reported(&node) {
            self.readiness.node_reported(&node);
        }
        Ok(Response::new(ReportResponse {}))
    }
}
