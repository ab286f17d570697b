//! The file by which `weft viz` finds a dev VM's dashboard and taps.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::prometheus::Prometheus;
use super::server::{Server, control_plane_namespace};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// What `context.json` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The cluster's name.
    pub name: String,
    /// The dashboard and its API.
    pub web_url: String,
    /// Live calls.
    pub tap_url: String,
    /// The file of the token for live calls, which only root can read.
    pub tap_token_file: PathBuf,
    /// None: figures come from the proxies.
    pub prometheus_url: Option<String>,
    /// The namespace whose service account weft-control has.
    pub control_plane_namespace: String,
}

impl Context {
    /// What is known of a cluster and what shows it.
    pub fn of(cluster: &Cluster, server: &Server, prometheus: Option<&Prometheus>) -> Result<Self> {
        Ok(Self {
            name: cluster.layout().id.clone(),
            web_url: server.url(),
            tap_url: server.tap_url(),
            tap_token_file: server.token_file().to_owned(),
            prometheus_url: prometheus.map(Prometheus::url),
            control_plane_namespace: control_plane_namespace(cluster)?,
        })
    }

    /// Writes it to the cluster's folder, where everybody may read it.
    pub fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.root.join("context.json");
        let draft = layout.root.join(".context.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Manifests(format!("context.json: {error}")))?;
        fs::write(&draft, text + "\n").map_err(Error::io("write", &draft))?;
        fs::rename(&draft, &path).map_err(Error::io("write", path))
    }
}
