//! The command-line options of weft-control.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use ipnet::IpNet;
use weft_control::{AuthorityConfig, Config, KubernetesConfig, Mesh, SourceConfig, settings::parse_duration};

use crate::{defaults::Defaults, logging::Format};

/// weft's control plane: tells node proxies their workloads and the endpoints of destinations, and issues certificates
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// A folder of Kubernetes manifests. May be given several times: documents of a later folder are merged onto those
    /// with the same kind, namespace and name in an earlier one
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "kubernetes",
        env = "WEFT_CONTROL_MANIFESTS",
        value_delimiter = ','
    )]
    manifests: Vec<PathBuf>,
    /// Reads the cluster from the Kubernetes API instead of manifests, with the service account of the pod
    #[arg(long, conflicts_with = "manifests", env = "WEFT_CONTROL_KUBERNETES")]
    kubernetes: bool,
    /// For development: reaches the Kubernetes API as this file says
    #[arg(long, value_name = "FILE", requires = "kubernetes", env = "WEFT_CONTROL_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The address of the webhook that checks policies; only with --kubernetes
    #[arg(long, value_name = "HOST:PORT", default_value = "[::]:9443", env = "WEFT_CONTROL_WEBHOOK")]
    webhook: SocketAddr,
    /// The folder for certificates, tokens, and the addresses that weft-control listens on
    #[arg(long, value_name = "DIR", env = "WEFT_CONTROL_STATE")]
    state: PathBuf,
    /// The address of the gRPC services, which speak TLS only
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", env = "WEFT_CONTROL_LISTEN")]
    listen: SocketAddr,
    /// The address of /ready, /live and /metrics
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", env = "WEFT_CONTROL_ADMIN")]
    admin: SocketAddr,
    /// A node that gets a token at the start. Nodes in manifests get one anyway
    #[arg(long = "node", value_name = "NAME", env = "WEFT_CONTROL_NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// The last part of every identity
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", env = "WEFT_CONTROL_TRUST_DOMAIN")]
    trust_domain: String,
    /// The part of every identity before the trust domain
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "linkerd",
        env = "WEFT_CONTROL_CONTROL_PLANE_NAMESPACE"
    )]
    control_plane_namespace: String,
    /// The last part of every service's DNS name
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", env = "WEFT_CONTROL_CLUSTER_DOMAIN")]
    cluster_domain: String,
    /// The networks of pod and service addresses
    #[arg(
        long,
        value_name = "CIDR,…",
        default_value = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8",
        env = "WEFT_CONTROL_CLUSTER_NETWORKS",
        value_delimiter = ','
    )]
    cluster_networks: Vec<IpNet>,
    /// How long certificates are valid, as in 20s or 24h
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        env = "WEFT_CONTROL_ISSUANCE_LIFETIME",
        value_parser = parse_duration
    )]
    issuance_lifetime: Duration,
    /// A folder with the issuer's certificate and key, such as a mounted Secret: tls.crt and tls.key, or crt.pem and
    /// key.pem. Read again when it changes. Default in a pod: /var/run/weft/identity/issuer, with the trust anchors in
    /// /var/run/weft/identity/trust-roots/ca-bundle.crt; else the state folder, where an authority is created if need be
    #[arg(long, value_name = "DIR", env = "WEFT_CONTROL_IDENTITY_ISSUER_DIR")]
    identity_issuer_dir: Option<PathBuf>,
    /// The trust anchors (PEM), such as a mounted ConfigMap. Read again when they change. Default: ca.crt in
    /// --identity-issuer-dir
    #[arg(
        long,
        value_name = "FILE",
        env = "WEFT_CONTROL_IDENTITY_TRUST_ANCHORS_FILE",
        requires = "identity_issuer_dir"
    )]
    identity_trust_anchors_file: Option<PathBuf>,
    /// How much the clocks of the cluster may differ: certificates are valid this much earlier and longer
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "20s",
        env = "WEFT_CONTROL_IDENTITY_CLOCK_SKEW_ALLOWANCE",
        value_parser = parse_duration
    )]
    identity_clock_skew_allowance: Duration,
    #[command(flatten)]
    defaults: Defaults,
    /// The format of log lines
    #[arg(long, value_enum, default_value_t = Format::Text, env = "WEFT_CONTROL_LOG_FORMAT")]
    pub(crate) log_format: Format,
    /// What to log: a level, or tracing directives such as info,weft_control=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "WEFT_CONTROL_LOG_LEVEL")]
    pub(crate) log_level: String,
}

/// Where the chart mounts the issuer's Secret and the trust bundle's ConfigMap.
const MOUNTED_ISSUER: &str = "/var/run/weft/identity/issuer";
const MOUNTED_ANCHORS: &str = "/var/run/weft/identity/trust-roots/ca-bundle.crt";

impl Args {
    /// In a pod the authority is always a mounted one: replicas that each made their own would not trust each other.
    fn identity(&self) -> AuthorityConfig {
        let in_pod = self.kubernetes && self.kubeconfig.is_none() && self.identity_issuer_dir.is_none();
        let (issuer_dir, trust_anchors_file) = match in_pod {
            true => (Some(MOUNTED_ISSUER.into()), Some(MOUNTED_ANCHORS.into())),
            false => (self.identity_issuer_dir.clone(), self.identity_trust_anchors_file.clone()),
        };
        AuthorityConfig {
            issuer_dir,
            trust_anchors_file,
            lifetime: self.issuance_lifetime,
            clock_skew: self.identity_clock_skew_allowance,
        }
    }

    pub(crate) fn config(self) -> Config {
        let identity = self.identity();
        let source = match self.kubernetes {
            true => SourceConfig::Kubernetes(KubernetesConfig {
                kubeconfig: self.kubeconfig,
                webhook: self.webhook,
            }),
            false => SourceConfig::Manifests(self.manifests),
        };
        Config {
            source,
            state: self.state,
            listen: self.listen,
            admin: self.admin,
            nodes: self.nodes,
            identity,
            defaults: self.defaults.annotations(),
            mesh: Mesh {
                trust_domain: self.trust_domain,
                control_plane_namespace: self.control_plane_namespace,
                cluster_domain: self.cluster_domain,
                cluster_networks: self.cluster_networks,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_option_is_documented_with_variable_and_default() {
        const DOCUMENT: &str = include_str!("../../docs/configuration.md");
        for option in Args::command().get_arguments().filter(|option| option.get_long().is_some()) {
            let long = option.get_long().unwrap_or_default();
            let Some(variable) = option.get_env().map(|name| name.to_string_lossy()) else { continue };
            let start = format!("| `--{long}` | `{variable}` | ");
            let Some(row) = DOCUMENT.lines().find_map(|line| line.strip_prefix(&start)) else {
                panic!("docs/configuration.md has no line: {start}…");
            };
            let documented = row.split(" |").next().unwrap_or_default().trim_matches('`');
            let default: Vec<_> =
                option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let is_same = match default.join(",").as_str() {
                // A switch, or something that depends on other options.
                "" | "false" => !documented.is_empty(),
                // A long list, which the table has only once.
                _ if documented == "as for weft-proxy" => long == "cluster-networks",
                default => documented == default,
            };
            assert!(is_same, "--{long} is {default:?} by default; docs/configuration.md says {documented:?}");
        }
    }

    fn identity(more: &[&str]) -> (Option<PathBuf>, Option<PathBuf>) {
        let args = ["weft-control", "--state", "s"].iter().chain(more);
        let config = Args::parse_from(args).config().identity;
        (config.issuer_dir, config.trust_anchors_file)
    }

    #[test]
    fn a_pod_makes_no_authority_of_its_own() {
        let mounted = (Some(MOUNTED_ISSUER.into()), Some(MOUNTED_ANCHORS.into()));
        assert_eq!(identity(&["--kubernetes"]), mounted);
        let given = identity(&["--kubernetes", "--identity-issuer-dir", "x"]);
        assert_eq!(given, (Some("x".into()), None));
        assert_eq!(identity(&["--kubernetes", "--kubeconfig", "k"]), (None, None));
        assert_eq!(identity(&["--manifests", "m"]), (None, None));
    }
}
