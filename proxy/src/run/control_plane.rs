//! The way to the control plane, and what it has told about the whole mesh.

use std::sync::Arc;

use crate::{
    config::Config,
    control::{self, Client, Replicas, TlsSettings},
    identity::{self, CurrentIssuer},
    lifecycle::{Role, WatchConfig, keep_session},
};

/// The way to the control plane.
pub(super) struct ControlPlane {
    pub(super) client: Client,
    pub(super) replicas: Arc<Replicas>,
    pub(super) settings: TlsSettings,
    /// Who signs certificates now: the stream of workloads tells it.
    pub(super) issuer: CurrentIssuer,
}

impl ControlPlane {
    pub(super) fn new(settings: TlsSettings) -> Self {
        let replicas = Replicas::new();
        Self { client: Client::new(replicas.clone()), replicas, settings, issuer: CurrentIssuer::default() }
    }

    /// Keeps sessions with all replicas until dropped.
    pub(super) fn sessions(&self, config: &Config, role: Role) -> impl Future<Output = ()> + Send + 'static {
        let watch_config = watch_config(config);
        let session = move |replica| keep_session(replica, watch_config.clone(), role.clone());
        control::follow(config.control.clone(), self.settings.clone(), self.replicas.clone(), session)
    }
}

pub(super) fn identity_config(config: &Config, control: &ControlPlane) -> identity::Config {
    identity::Config {
        node: config.node.clone(),
        control: control.client.clone(),
        token_file: config.token_file.clone(),
        anchors: control.settings.anchors.clone(),
        issuer: control.issuer.clone(),
    }
}

pub(super) fn watch_config(config: &Config) -> WatchConfig {
    WatchConfig { node: config.node.clone(), token_file: config.token_file.clone() }
}
