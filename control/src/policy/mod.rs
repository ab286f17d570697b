//! The policy service, which tells who may connect to a port of a pod
//! (`io.linkerd.proxy.inbound.InboundServerPolicies`).
//!
//! Linkerd sidecars ask it about their own ports, and the command line about any pod's. weft's own proxies get the same
//! policies from the node service.

mod authz;
mod describe;
mod routes;
mod workload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_api::linkerd::inbound::{PortSpec, Server, inbound_server_policies_server::InboundServerPolicies};

pub(crate) use self::workload::parse_workload;
use crate::{
    index::{Cluster, Topic},
    mesh::Mesh,
    model::Name,
    streams::{Stream, Streams},
};

const GET_PORT: &str = "policy.GetPort";
const WATCH_PORT: &str = "policy.WatchPort";

#[derive(Clone, Debug)]
pub(crate) struct Policies {
    mesh: Arc<Mesh>,
    streams: Streams,
}

/// A port of a pod.
#[derive(Debug)]
struct Target {
    pod: Name,
    port: u16,
}

impl Policies {
    pub(crate) fn new(mesh: Arc<Mesh>, streams: Streams) -> Self {
        Self { mesh, streams }
    }

    fn target(request: &PortSpec) -> Result<Target, Status> {
        let pod = parse_workload(&request.workload)?;
        match u16::try_from(request.port) {
            Ok(port) if port > 0 => Ok(Target { pod, port }),
            _ => Err(Status::invalid_argument(format!("Invalid port: {}", request.port))),
        }
    }

    /// The policy of a port as it is now, with the target.
    fn find(&self, request: &PortSpec) -> Result<(Target, Server), Status> {
        let target = Self::target(request)?;
        let server = target.server(&self.streams.snapshot(), &self.mesh);
        let Target { pod, .. } = &target;
        let server = server.ok_or_else(|| {
            Status::not_found(format!("there is no running pod {} in namespace {}", pod.name, pod.namespace))
        })?;
        Ok((target, server))
    }
}

impl Target {
    fn server(&self, cluster: &Cluster, mesh: &Mesh) -> Option<Server> {
        cluster.pod(&self.pod).map(|pod| describe::server(pod, self.port, mesh))
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Policies {
    type WatchPortStream = Stream<Server>;

    async fn get_port(&self, request: Request<PortSpec>) -> Result<Response<Server>, Status> {
        match self.find(request.get_ref()) {
            Ok((_, server)) => {
                self.streams.answered(GET_PORT);
                Ok(Response::new(server))
            }
            Err(status) => Err(self.streams.refuse(GET_PORT, status)),
        }
    }

    async fn watch_port(&self, request: Request<PortSpec>) -> Result<Response<Stream<Server>>, Status> {
        let (target, _) =
            self.find(request.get_ref()).map_err(|status| self.streams.refuse(WATCH_PORT, status))?;
        let (mesh, mut sent) = (self.mesh.clone(), None);
        let topics = vec![Topic::Pod(target.pod.clone())];
        let stream = self.streams.open(WATCH_PORT, topics, move |cluster| {
            // While the pod is away, the last policy applies.
            match target.server(cluster, &mesh) {
                Some(server) if sent.as_ref() != Some(&server) => {
                    sent = Some(server.clone());
                    vec![server]
                }
                _ => Vec::new(),
            }
        })?;
        Ok(Response::new(stream))
    }
}
