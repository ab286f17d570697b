//! The options of taps.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use http::HeaderName;

use super::{CredentialsConfig, Proxies};
use crate::fixed_proxy::FixedProxy;

/// Headers that usually hold secrets.
pub const SECRET_HEADERS: &str = "authorization,cookie,proxy-authorization,set-cookie,x-api-key,x-auth-token";

/// How node proxies are tapped.
#[derive(Args, Clone, Debug)]
pub struct TapArgs {
    /// The control plane's gRPC address, which issues the certificate for taps.
    #[arg(long, env = "WEFT_VIZ_CONTROL", default_value = "weft-control.linkerd.svc:8086")]
    pub control: String,
    /// The namespace of the control plane.
    #[arg(long, env = "WEFT_VIZ_CONTROL_PLANE_NAMESPACE", default_value = "linkerd")]
    pub control_plane_namespace: String,
    /// The last part of every identity.
    #[arg(long, env = "WEFT_VIZ_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// File with the token of the service account tap, for the control plane.
    #[arg(long, env = "WEFT_VIZ_TOKEN_FILE", default_value = "/var/run/secrets/tokens/weft-identity-token")]
    pub token_file: PathBuf,
    /// PEM file with the mesh's trust anchors. Read again when it changes.
    #[arg(
        long,
        env = "WEFT_VIZ_TRUST_ANCHORS",
        default_value = "/var/run/weft/identity/trust-roots/ca-bundle.crt"
    )]
    pub trust_anchors: PathBuf,
    /// The namespace of weft-viz.
    #[arg(long, env = "WEFT_VIZ_NAMESPACE", default_value = "weft-viz")]
    pub viz_namespace: String,
    /// Headers that taps never show.
    #[arg(long, env = "WEFT_VIZ_TAP_IGNORE_HEADERS", value_delimiter = ',', default_value = SECRET_HEADERS)]
    pub tap_ignore_headers: Vec<HeaderName>,
    /// A node's proxy where it answers taps, NODE=HOST:PORT or NODE=/PATH/OF/A/FILE. Without any, the proxies are found
    /// by their pods.
    #[arg(long, env = "WEFT_VIZ_TAP_PROXIES", value_delimiter = ',')]
    pub tap_proxy: Vec<FixedProxy>,
}

/// `weft-viz tap`: the aggregated API server.
#[derive(Args, Clone, Debug)]
pub struct TapRole {
    #[command(flatten)]
    pub tap: TapArgs,
    /// Address of the API server.
    #[arg(long, env = "WEFT_VIZ_TAP_LISTEN", default_value = "[::]:8089")]
    pub listen: SocketAddr,
    /// Address of `/ready`, `/live` and `/metrics`.
    #[arg(long, env = "WEFT_VIZ_TAP_ADMIN", default_value = "[::]:9998")]
    pub admin: SocketAddr,
    /// A kubeconfig file. Without one, the service account of the pod is used.
    #[arg(long, env = "WEFT_VIZ_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The name of the Service in front of this server, which its certificate has.
    #[arg(long, env = "WEFT_VIZ_TAP_SERVICE", default_value = "tap")]
    pub service: String,
}

impl TapArgs {
    pub fn proxies(&self) -> Proxies {
        match self.tap_proxy.is_empty() {
            true => Proxies::Pods { namespace: self.control_plane_namespace.clone() },
            false => Proxies::Fixed(self.tap_proxy.clone()),
        }
    }

    pub fn credentials(&self) -> CredentialsConfig {
        CredentialsConfig {
            control: self.control.clone(),
            control_identity: self.identity("weft-control", &self.control_plane_namespace),
            identity: self.identity("tap", &self.viz_namespace),
            token_file: self.token_file.clone(),
            trust_anchors: self.trust_anchors.clone(),
        }
    }

    /// The identity that node proxies prove.
    pub fn proxy_identity(&self) -> String {
        self.identity("weft-proxy", &self.control_plane_namespace)
    }

    fn identity(&self, account: &str, namespace: &str) -> String {
        let Self { control_plane_namespace: control_plane, trust_domain, .. } = self;
        format!("{account}.{namespace}.serviceaccount.identity.{control_plane}.{trust_domain}")
    }
}
