//! How is weft-proxy told what to do?

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use crate::{capture::default_attach_point, logging};

/// weft's node proxy: serves all meshed pods of a node.
#[derive(Parser, Debug)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve this node's workloads until SIGTERM; relieves a proxy that runs with the same --state-dir.
    Run(Box<Config>),
    /// Say whether this kernel can carry weft; loads the programs and attaches nothing.
    Check,
    /// Detach everything that proxies of a node left in the kernel. Connections then go directly.
    Cleanup {
        /// The node's name.
        #[arg(long, env = "WEFT_PROXY_NODE")]
        node: String,
        /// The BPF file system with the pins.
        #[arg(long, env = "WEFT_PROXY_BPFFS", default_value = "/sys/fs/bpf")]
        bpffs: PathBuf,
    },
}

/// Everything that can be set.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Config {
    /// This node's name, as the control plane knows it.
    #[arg(long, env = "WEFT_PROXY_NODE")]
    pub node: String,
    /// The control plane, http://HOST:PORT.
    #[arg(long, env = "WEFT_PROXY_CONTROL")]
    pub control: String,
    /// File with the node's token for the control plane.
    #[arg(long, env = "WEFT_PROXY_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// PEM file with the trust anchors; read again when it changes.
    #[arg(long, env = "WEFT_PROXY_TRUST_ANCHORS")]
    pub trust_anchors: PathBuf,
    /// Folder for the socket through which a successor takes over, and for `admin-address`.
    #[arg(long, env = "WEFT_PROXY_STATE_DIR", default_value = "/run/weft/proxy")]
    pub state_dir: PathBuf,
    /// A mounted BPF file system for the pins.
    #[arg(long, env = "WEFT_PROXY_BPFFS", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// The cgroup (v2) to attach to. Default: kubepods where there is one, else the root.
    #[arg(long, env = "WEFT_PROXY_CGROUP", default_value_os_t = default_attach_point())]
    pub cgroup: PathBuf,
    /// Folder with pods' network namespaces, bind-mounted as NAMESPACE_NAME.
    #[arg(long, env = "WEFT_PROXY_NETNS_DIR")]
    pub netns_dir: Option<PathBuf>,
    /// The node's own network namespace.
    #[arg(long, env = "WEFT_PROXY_HOST_NETNS", default_value = "/proc/1/ns/net")]
    pub host_netns: PathBuf,
    /// The kernel's type information, which splicing needs.
    #[arg(long, env = "WEFT_PROXY_BTF", default_value = "/sys/kernel/btf/vmlinux")]
    pub btf: PathBuf,
    /// Address of the admin server; port 0: any free one, written to STATE_DIR/admin-address.
    #[arg(long, env = "WEFT_PROXY_ADMIN", default_value = "127.0.0.1:4191")]
    pub admin: SocketAddr,
    /// Networks that the cluster-… policies take for the cluster's.
    #[arg(
        long,
        env = "WEFT_PROXY_CLUSTER_NETWORKS",
        value_delimiter = ',',
        default_value = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"
    )]
    pub cluster_networks: Vec<IpNet>,
    /// How long connections may take to end by themselves after SIGTERM (20s, 2m).
    #[arg(long, env = "WEFT_PROXY_DRAIN_TIMEOUT", value_parser = duration, default_value = "120s")]
    pub drain_timeout: Duration,
    /// How long a client may take to show what it speaks, and for a TLS handshake.
    #[arg(long, env = "WEFT_PROXY_DETECT_TIMEOUT", value_parser = duration, default_value = "10s")]
    pub detect_timeout: Duration,
    /// How long a connection waits for its workload's first certificate.
    #[arg(long, env = "WEFT_PROXY_CERTIFICATE_TIMEOUT", value_parser = duration, default_value = "3s")]
    pub certificate_timeout: Duration,
    /// How long a connection may be without a byte either way; 0s: for ever.
    #[arg(long, env = "WEFT_PROXY_IDLE_TIMEOUT", value_parser = duration, default_value = "0s")]
    pub idle_timeout: Duration,
    /// After how long without a heartbeat new connections follow their workload's fail mode.
    #[arg(long, env = "WEFT_PROXY_STALE_AFTER", value_parser = duration, default_value = "5s")]
    pub stale_after: Duration,
    /// Connections that one workload may have open, both ways together.
    #[arg(long, env = "WEFT_PROXY_MAX_CONNECTIONS_PER_WORKLOAD", default_value_t = 20_000)]
    pub max_connections_per_workload: usize,
    /// Whether opaque connections between pods of this node may go directly once one was admitted; auto: where no
    /// other pod is on the links that they then take.
    #[arg(long, env = "WEFT_PROXY_DIRECT_PASS", value_enum, default_value_t)]
    pub direct_pass: DirectPass,
    /// Connections that all workloads may have open; 0: as many as the limit of open files allows. A workload gets no
    /// more of them than it leaves to others.
    #[arg(long, env = "WEFT_PROXY_MAX_CONNECTIONS", default_value_t = 0)]
    pub max_connections: usize,
    /// Threads that carry connections; default: one per core.
    #[arg(long, env = "WEFT_PROXY_WORKERS")]
    pub workers: Option<usize>,
    /// How log lines look.
    #[arg(long, env = "WEFT_PROXY_LOG_FORMAT", value_enum, default_value_t)]
    #[serde(skip)]
    pub log_format: logging::Format,
    /// A tracing filter: a level, or directives (info,weft_proxy::inbound=debug).
    #[arg(long, env = "WEFT_PROXY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Let the eBPF programs log each decision at debug level (slow).
    #[arg(long, env = "WEFT_PROXY_EBPF_LOG")]
    pub ebpf_log: bool,
}

/// Between which pods of a node connections may go past the proxy.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectPass {
    /// Those of which both have links of their own to the node.
    #[default]
    Auto,
    /// All: whoever shares a link with others trusts them.
    On,
    /// None.
    Off,
}

/// `20s`, `500ms`, `2m`, `24h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no duration; write 500ms, 20s, 2m or 24h"))?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => None,
    }
    .ok_or_else(|| format!("{text:?} is no duration; write 500ms, 20s, 2m or 24h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "10", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
