//! The command-line options of weft-viz.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args as ArgsTrait, Parser, Subcommand, ValueEnum};
use http::HeaderName;
use weft_api::viz::Grafana;
use weft_control::{Mesh, settings::parse_duration};

use crate::{
    config::{Config, LocalTaps, PrometheusConfig, Settings, SourceConfig, WebConfig},
    fixed_proxy::FixedProxy,
    prometheus::Credentials,
    proxies::Directory,
    tap::{self, TapArgs, TapRole},
};

/// weft's dashboard, its API, and live calls
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) role: Role,
    /// The format of log lines
    #[arg(long, value_enum, default_value_t = Format::Text, env = "WEFT_VIZ_LOG_FORMAT", global = true)]
    pub(crate) log_format: Format,
    /// What to log: a level, or tracing directives such as info,weft_viz=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "WEFT_VIZ_LOG_LEVEL", global = true)]
    pub(crate) log_level: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Serve the dashboard and its API
    Web(Box<WebArgs>),
    /// Serve live calls, as an API of the Kubernetes API server
    Tap(Box<TapRole>),
    /// Serve the dashboard, its API and live calls of a dev VM, on loopback
    Local(Box<LocalArgs>),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Plain text
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, ArgsTrait)]
pub(crate) struct WebArgs {
    /// Reads the cluster from the Kubernetes API, with the service account of the pod
    #[arg(long, env = "WEFT_VIZ_KUBERNETES")]
    kubernetes: bool,
    /// For development: reaches the Kubernetes API as this file says
    #[arg(long, value_name = "FILE", requires = "kubernetes", env = "WEFT_VIZ_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, ArgsTrait)]
pub(crate) struct LocalArgs {
    #[command(flatten)]
    common: Common,
    /// The control plane's gRPC address, which issues the certificate for taps. Without it, there are no live calls
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "WEFT_VIZ_CONTROL",
        requires_all = ["token_file", "trust_anchors", "tap_listen", "tap_token_file"]
    )]
    control: Option<String>,
    /// weft-viz's token for the control plane
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The address of the tap API, for the CLI
    #[arg(long, value_name = "HOST:PORT", env = "WEFT_VIZ_TAP_LISTEN")]
    tap_listen: Option<SocketAddr>,
    /// A file that a token for the tap API is written to. Only its owner can read it
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_TAP_TOKEN_FILE")]
    tap_token_file: Option<PathBuf>,
    /// Where a node's proxy answers taps, as NODE=HOST:PORT, or NODE=FILE with a file that has the address
    #[arg(long, value_name = "NODE=ADDRESS", env = "WEFT_VIZ_TAP_PROXIES", value_delimiter = ',')]
    tap_proxy: Vec<FixedProxy>,
    /// Headers that taps never show
    #[arg(long, value_delimiter = ',', env = "WEFT_VIZ_TAP_IGNORE_HEADERS", default_value = tap::SECRET_HEADERS)]
    tap_ignore_headers: Vec<HeaderName>,
}

#[derive(Debug, ArgsTrait)]
pub(crate) struct Common {
    /// A folder of Kubernetes manifests, instead of the Kubernetes API. May be given several times: documents of a later
    /// folder are merged onto those of an earlier one
    #[arg(long, value_name = "DIR", env = "WEFT_VIZ_MANIFESTS", value_delimiter = ',')]
    manifests: Vec<PathBuf>,
    /// The address of the dashboard
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8084", env = "WEFT_VIZ_LISTEN")]
    listen: SocketAddr,
    /// The address of /live, /ready and /metrics
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9994", env = "WEFT_VIZ_ADMIN")]
    admin: SocketAddr,
    /// A file that the dashboard's address is written to
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_ADDRESS_FILE")]
    address_file: Option<PathBuf>,
    /// The namespace of weft's control plane, and the part of every identity before the trust domain
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "linkerd",
        env = "WEFT_VIZ_CONTROL_PLANE_NAMESPACE"
    )]
    control_plane_namespace: String,
    /// The namespace of the viz extension
    #[arg(long, value_name = "NAMESPACE", default_value = "weft-viz", env = "WEFT_VIZ_NAMESPACE")]
    viz_namespace: String,
    /// The last part of every service's DNS name
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", env = "WEFT_VIZ_CLUSTER_DOMAIN")]
    cluster_domain: String,
    /// The last part of every identity [default: the cluster domain]
    #[arg(long, value_name = "DOMAIN", env = "WEFT_VIZ_TRUST_DOMAIN")]
    trust_domain: Option<String>,
    /// Prometheus. Without one, figures are those of the last minute, read from the proxies
    #[arg(long, value_name = "URL", env = "WEFT_VIZ_PROMETHEUS_URL")]
    prometheus_url: Option<String>,
    /// The name for Prometheus' basic authentication. The password is in WEFT_VIZ_PROMETHEUS_PASSWORD
    #[arg(long, value_name = "NAME", env = "WEFT_VIZ_PROMETHEUS_USER")]
    prometheus_user: Option<String>,
    /// A file with a token for Prometheus
    #[arg(
        long,
        value_name = "FILE",
        env = "WEFT_VIZ_PROMETHEUS_TOKEN_FILE",
        conflicts_with = "prometheus_user"
    )]
    prometheus_token_file: Option<PathBuf>,
    /// The authorities that vouch for an https Prometheus (PEM), in place of the public ones. Read again when it changes
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_PROMETHEUS_CA", requires = "prometheus_url")]
    prometheus_ca: Option<PathBuf>,
    /// How often Prometheus scrapes the proxies
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        env = "WEFT_VIZ_SCRAPE_INTERVAL",
        value_parser = parse_duration
    )]
    scrape_interval: Duration,
    /// The admin server of a node's proxy, as NODE=HOST:PORT, or NODE=FILE with a file that has the address. May be
    /// given several times. Without it, the proxies are the pods of the control plane's namespace
    #[arg(long = "proxy", value_name = "NODE=ADDRESS", env = "WEFT_VIZ_PROXY", value_delimiter = ',')]
    proxies: Vec<FixedProxy>,
    /// The trust anchors (PEM), to show when they expire
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_TRUST_ANCHORS")]
    trust_anchors: Option<PathBuf>,
    /// The issuer's certificate (PEM), to show when it expires
    #[arg(long, value_name = "FILE", env = "WEFT_VIZ_ISSUER_CERTIFICATE")]
    issuer_certificate: Option<PathBuf>,
    /// The Host headers that are answered, as a regular expression. It protects against DNS rebinding
    /// [default: localhost, and the names of the service `web`]
    #[arg(long, value_name = "REGEX", env = "WEFT_VIZ_ENFORCED_HOST")]
    enforced_host: Option<String>,
    /// A Grafana that weft-viz reaches. The dashboard serves it below /grafana
    #[arg(long, value_name = "URL", env = "WEFT_VIZ_GRAFANA_URL")]
    grafana_url: Option<http::Uri>,
    /// Where browsers reach Grafana. It wins over --grafana-url
    #[arg(long, value_name = "URL", env = "WEFT_VIZ_GRAFANA_EXTERNAL_URL")]
    grafana_external_url: Option<String>,
    /// A prefix of the uids of weft's dashboards in Grafana
    #[arg(long, value_name = "PREFIX", default_value = "", env = "WEFT_VIZ_GRAFANA_UID_PREFIX")]
    grafana_uid_prefix: String,
}

/// Prometheus' password is no option: those are seen by everyone on the machine.
const PASSWORD: &str = "WEFT_VIZ_PROMETHEUS_PASSWORD";

impl WebArgs {
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        let source = match (self.kubernetes, self.common.manifests.as_slice()) {
            (true, []) => SourceConfig::Kubernetes { kubeconfig: self.kubeconfig },
            (false, [_, ..]) => SourceConfig::Manifests(self.common.manifests.clone()),
            (true, _) => bail!("--kubernetes and --manifests exclude each other: give one of them"),
            (false, []) => {
                bail!("nothing says where objects come from: give --kubernetes or --manifests DIR")
            }
        };
        self.common.config(source, vec!["weft".into(), "viz".into()])
    }
}

impl LocalArgs {
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        if self.common.manifests.is_empty() {
            bail!("--manifests DIR is missing");
        }
        if !self.common.listen.ip().is_loopback() {
            bail!(
                "--listen {}: a dev VM is served on loopback only, because nobody has to log in",
                self.common.listen
            );
        }
        if let Some(address) = self.tap_listen.filter(|address| !address.ip().is_loopback()) {
            bail!("--tap-listen {address}: there is no TLS, so it has to be on loopback");
        }
        let taps = self.taps();
        let source = SourceConfig::Manifests(self.common.manifests.clone());
        let config = self.common.config(source, vec!["weft".into(), "viz".into()])?;
        Ok(Config { taps, ..config })
    }
}

impl LocalArgs {
    fn taps(&self) -> Option<LocalTaps> {
        let Self { common, .. } = self;
        let (listen, token_file) = (self.tap_listen?, self.tap_token_file.clone()?);
        let options = TapArgs {
            control: self.control.clone()?,
            control_plane_namespace: common.control_plane_namespace.clone(),
            trust_domain: common.trust_domain.clone().unwrap_or_else(|| common.cluster_domain.clone()),
            token_file: self.token_file.clone()?,
            trust_anchors: common.trust_anchors.clone()?,
            viz_namespace: common.viz_namespace.clone(),
            tap_ignore_headers: self.tap_ignore_headers.clone(),
            tap_proxy: self.tap_proxy.clone(),
        };
        Some(LocalTaps { listen, token_file, options })
    }
}

impl Common {
    fn config(self, source: SourceConfig, cli: Vec<String>) -> anyhow::Result<Config> {
        let credentials = self.credentials()?;
        let default_host = default_host(&self.viz_namespace, &self.cluster_domain);
        let host = self.enforced_host.filter(|pattern| !pattern.is_empty()).unwrap_or(default_host);
        let enforced_host = regex::RegexBuilder::new(&host)
            .size_limit(1024 * 1024)
            .build()
            .with_context(|| format!("--enforced-host {host:?}"))?;
        let grafana_url = match (&self.grafana_external_url, &self.grafana_url) {
            (Some(url), _) => Some(url.trim_end_matches('/').to_owned()),
            // The dashboard serves it itself.
            (None, Some(_)) => Some("/grafana".to_owned()),
            (None, None) => None,
        };
        if self.grafana_url.as_ref().is_some_and(|url| url.scheme_str() != Some("http")) {
            bail!("--grafana-url: write it as http://HOST:PORT");
        }
        let proxies = match (self.proxies.is_empty(), &source) {
            (true, SourceConfig::Kubernetes { .. }) => {
                Directory::Pods { namespace: self.control_plane_namespace.clone() }
            }
            _ => Directory::Fixed(self.proxies),
        };
        let trust_domain = self.trust_domain.unwrap_or_else(|| self.cluster_domain.clone());
        Ok(Config {
            source,
            mesh: Mesh {
                trust_domain,
                control_plane_namespace: self.control_plane_namespace,
                cluster_domain: self.cluster_domain,
                cluster_networks: Vec::new(),
            },
            prometheus: self.prometheus_url.filter(|url| !url.is_empty()).map(|url| PrometheusConfig {
                url,
                credentials,
                authorities: self.prometheus_ca,
            }),
            proxies,
            settings: Settings {
                viz_namespace: self.viz_namespace,
                grafana: grafana_url.map(|url| Grafana { url, uid_prefix: self.grafana_uid_prefix }),
                cli,
                scrape_interval: self.scrape_interval,
                trust_anchors: self.trust_anchors,
                issuer_certificate: self.issuer_certificate,
            },
            taps: None,
            web: WebConfig {
                listen: self.listen,
                admin: self.admin,
                enforced_host,
                grafana_proxy: self.grafana_url,
                address_file: self.address_file,
            },
        })
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        Ok(match (&self.prometheus_user, &self.prometheus_token_file) {
            (Some(user), _) => {
                let password = std::env::var(PASSWORD)
                    .with_context(|| format!("--prometheus-user needs a password in {PASSWORD}"))?;
                Credentials::Basic { user: user.clone(), password }
            }
            (None, Some(file)) => Credentials::BearerFile(file.clone()),
            (None, None) => Credentials::None,
        })
    }
}

/// As Linkerd's, with the names of this extension.
fn default_host(namespace: &str, domain: &str) -> String {
    // Both are DNS names: only dots mean something else in a pattern.
    let (namespace, domain) = (namespace.replace('.', r"\."), domain.replace('.', r"\."));
    format!(
        r"^(localhost|127\.0\.0\.1|web\.{namespace}\.svc\.{domain}|web\.{namespace}\.svc|\[::1\])(:\d+)?$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(more: &[&str]) -> anyhow::Result<Config> {
        let args = Args::parse_from(["weft-viz", "web"].iter().chain(more));
        match args.role {
            Role::Web(args) => args.config(),
            Role::Local(args) => args.config(),
            Role::Tap(_) => unreachable!("the test asks for the role web"),
        }
    }

    #[test]
    fn only_the_services_own_names_are_hosts_by_default() {
        let config = web(&["--kubernetes", "--viz-namespace", "v.z"]).unwrap();
        let pattern = config.web.enforced_host;
        for host in [
            "localhost",
            "localhost:50750",
            "127.0.0.1:8084",
            "[::1]:1",
            "web.v.z.svc",
            "web.v.z.svc.cluster.local:8084",
        ] {
            assert!(pattern.is_match(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "web.vxz.svc", "localhost:x"] {
            assert!(!pattern.is_match(host), "{host}");
        }
    }

    #[test]
    fn a_grafana_that_only_weft_viz_reaches_is_served_by_it() {
        let links = |more: &[&str]| {
            let args: Vec<_> = ["--kubernetes"].iter().chain(more).copied().collect();
            web(&args).unwrap().settings.grafana.map(|grafana| grafana.url)
        };
        assert_eq!(links(&[]), None);
        assert_eq!(links(&["--grafana-url", "http://grafana:3000"]).as_deref(), Some("/grafana"));
        let both =
            ["--grafana-url", "http://grafana:3000", "--grafana-external-url", "https://g.example.org/"];
        assert_eq!(links(&both).as_deref(), Some("https://g.example.org"));
    }

    #[test]
    fn mistakes_say_what_to_do() {
        assert!(web(&[]).unwrap_err().to_string().contains("--kubernetes or --manifests"));
        let error = web(&["--kubernetes", "--enforced-host", "("]).unwrap_err();
        assert!(format!("{error:#}").starts_with("--enforced-host"), "{error:#}");
    }
}
