//! The configuration of weft-viz.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use weft_api::viz::Grafana;
use weft_control::Mesh;

use crate::{prometheus::Credentials, proxies::Directory, tap::TapArgs};

/// What answers of the API say of the installation.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) viz_namespace: String,
    /// Links for browsers.
    pub(crate) grafana: Option<Grafana>,
    /// Words that a CLI command starts with.
    pub(crate) cli: Vec<String>,
    /// How often Prometheus scrapes the proxies.
    pub(crate) scrape_interval: Duration,
    pub(crate) trust_anchors: Option<PathBuf>,
    pub(crate) issuer_certificate: Option<PathBuf>,
}

/// How the dashboard is served.
#[derive(Debug)]
pub(crate) struct WebConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) enforced_host: regex::Regex,
    /// A Grafana that is served below `/grafana/`.
    pub(crate) grafana_proxy: Option<http::Uri>,
    pub(crate) address_file: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) source: SourceConfig,
    pub(crate) mesh: Mesh,
    pub(crate) prometheus: Option<PrometheusConfig>,
    pub(crate) proxies: Directory,
    pub(crate) settings: Settings,
    pub(crate) web: WebConfig,
    /// Only on a dev VM.
    pub(crate) taps: Option<LocalTaps>,
}

/// Where Prometheus is, and how to ask it.
#[derive(Debug)]
pub(crate) struct PrometheusConfig {
    pub(crate) url: String,
    pub(crate) credentials: Credentials,
    /// A file with the certificates of its authorities.
    pub(crate) authorities: Option<PathBuf>,
}

/// The tap API of a dev VM.
#[derive(Debug)]
pub(crate) struct LocalTaps {
    pub(crate) listen: SocketAddr,
    /// Where its token is written.
    pub(crate) token_file: PathBuf,
    pub(crate) options: TapArgs,
}

#[derive(Debug)]
pub(crate) enum SourceConfig {
    Kubernetes { kubeconfig: Option<PathBuf> },
    Manifests(Vec<PathBuf>),
}
