//! The outbound policy service, which tells clients what to speak to a service and how to balance
//! (`io.linkerd.proxy.outbound.OutboundPolicies`).
//!
//! Node proxies and Linkerd sidecars ask it. Each policy has the default route only, to the endpoints of the service.

mod describe;
mod server;
mod target;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tonic::Status;
use weft_api::linkerd::outbound::{OutboundPolicy, TrafficSpec};

pub(crate) use self::server::OutboundServer;
use self::target::Target;
use crate::{
    mesh::Mesh,
    policy::parse_workload,
    streams::{Stream, Streams},
};

const GET: &str = "outbound.Get";
const WATCH: &str = "outbound.Watch";

#[derive(Clone, Debug)]
pub(crate) struct OutboundPolicies {
    mesh: Arc<Mesh>,
    streams: Streams,
}

impl OutboundPolicies {
    pub(crate) fn new(mesh: Arc<Mesh>, streams: Streams) -> Self {
        Self { mesh, streams }
    }

    fn get(&self, request: &TrafficSpec) -> Result<OutboundPolicy, Status> {
        let (_, policy) = self.find(request).map_err(|status| self.streams.refuse(GET, status))?;
        self.streams.answered(GET);
        Ok(policy)
    }

    fn watch(&self, request: &TrafficSpec) -> Result<Stream<OutboundPolicy>, Status> {
        let (target, _) = self.find(request).map_err(|status| self.streams.refuse(WATCH, status))?;
        let (mesh, mut sent) = (self.mesh.clone(), None);
        self.streams.open(WATCH, target.topics(), move |cluster| {
            // While the service is away, the last policy applies.
            match target.policy(cluster, &mesh) {
                Some(policy) if sent.as_ref() != Some(&policy) => {
                    sent = Some(policy.clone());
                    vec![policy]
                }
                _ => Vec::new(),
            }
        })
    }

    /// The policy as it is now, with what it is about.
    fn find(&self, request: &TrafficSpec) -> Result<(Target, OutboundPolicy), Status> {
        // A node proxy asks for all its pods and names none. Without routes, the policy is the same for every client.
        if !request.source_workload.is_empty() {
            parse_workload(&request.source_workload)?;
        }
        let target = Target::parse(request, &self.mesh.cluster_domain)?;
        let cluster = self.streams.snapshot();
        match target.policy(&cluster, &self.mesh) {
            Some(policy) => Ok((target, policy)),
            None => Err(target.unknown(&cluster)),
        }
    }
}
