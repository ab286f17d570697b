//! The connection to the control plane, and whether it answers.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::runtime::Handle;
use tonic::Status;
use weft_api::linkerd::{
    destination::{DestinationProfile, GetDestination, Update, destination_client::DestinationClient},
    outbound::{
        OutboundPolicy, TrafficSpec, outbound_policies_client::OutboundPoliciesClient, traffic_spec::Target,
    },
};

use crate::control::Client;

/// The connection to the control plane, shared by all watches.
#[derive(Debug)]
pub(super) struct ControlPlane {
    /// The runtime that watches run on, so that they do not run on the thread of the connection that asks first.
    pub(super) runtime: Handle,
    channel: Client,
    context_token: String,
    away: AtomicBool,
    failures: AtomicU64,
}

impl ControlPlane {
    pub(super) fn new(channel: Client, node: &str) -> Self {
        // Only the node: all its pods share the answers, so they must not depend on which pod asks first.
        let context_token = serde_json::json!({ "nodeName": node }).to_string();
        let runtime = Handle::current();
        Self { runtime, channel, context_token, away: AtomicBool::new(false), failures: AtomicU64::new(0) }
    }

    pub(super) async fn get_profile(
        &self,
        path: String,
    ) -> Result<tonic::Streaming<DestinationProfile>, Status> {
        Ok(DestinationClient::new(self.channel.clone()).get_profile(self.request(path)).await?.into_inner())
    }

    pub(super) async fn get(&self, path: String) -> Result<tonic::Streaming<Update>, Status> {
        Ok(DestinationClient::new(self.channel.clone()).get(self.request(path)).await?.into_inner())
    }

    pub(super) async fn watch_policy(
        &self,
        dst: SocketAddr,
    ) -> Result<tonic::Streaming<OutboundPolicy>, Status> {
        // No workload is named: all pods of the node share the answer.
        let request = TrafficSpec { source_workload: String::new(), target: Some(Target::Addr(dst.into())) };
        Ok(OutboundPoliciesClient::new(self.channel.clone()).watch(request).await?.into_inner())
    }

    /// Records that a watch got an answer.
    pub(super) fn answered(&self) {
        // Reads first: usually nothing changes, and a write would invalidate other cores' caches.
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("control plane answers again");
        }
    }

    /// Records that a watch ended. Only the first one is logged as a warning, because thousands may end together.
    pub(super) fn failed(&self, call: &str, path: &str, status: &Status) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if self.away.swap(true, Ordering::Relaxed) {
            tracing::debug!(call, path, %status, "watch ended");
        } else {
            tracing::warn!(call, path, %status, "control plane does not answer; known destinations stay in use");
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn request(&self, path: String) -> GetDestination {
        GetDestination { scheme: String::new(), path, context_token: self.context_token.clone() }
    }
}
