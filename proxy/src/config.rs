//! The command line of weft-proxy.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use crate::{
    bypass::DirectPass,
    capture::default_attach_point,
    control::ControlUrl,
    http, logging,
    tls::{Identity, InvalidIdentity},
};

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
    /// Serve this node's workloads until SIGTERM. Takes over from a proxy that runs with the same --state-dir.
    Run(Box<Config>),
    /// Say whether this kernel can run weft. Loads the eBPF programs and attaches nothing.
    Check,
    /// Exit with 0 if the process that writes this file is ready: a probe that asks one process, when a predecessor
    /// answers on the admin address too.
    Ready {
        /// The --ready-file of the process.
        ready_file: PathBuf,
    },
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
    /// The control plane, https://HOST:PORT. The host may have an address for each replica; several URLs are separated by
    /// commas.
    #[arg(long, env = "WEFT_PROXY_CONTROL", required = true, value_delimiter = ',')]
    pub control: Vec<ControlUrl>,
    /// The identity that the control plane must prove. Default: that of the service account weft-control in
    /// --control-plane-namespace.
    #[arg(long, env = "WEFT_PROXY_CONTROL_IDENTITY")]
    #[serde(serialize_with = "text")]
    pub control_identity: Option<Identity>,
    /// The namespace of the control plane.
    #[arg(long, env = "WEFT_PROXY_CONTROL_PLANE_NAMESPACE", default_value = "linkerd")]
    pub control_plane_namespace: String,
    /// The last part of every identity.
    #[arg(long, env = "WEFT_PROXY_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// File with the node's token for the control plane.
    #[arg(long, env = "WEFT_PROXY_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// PEM file with the trust anchors. Read again when it changes.
    #[arg(long, env = "WEFT_PROXY_TRUST_ANCHORS")]
    pub trust_anchors: PathBuf,
    /// Folder for the handover socket and the file `admin-address`.
    #[arg(long, env = "WEFT_PROXY_STATE_DIR", default_value = "/run/weft/proxy")]
    pub state_dir: PathBuf,
    /// The mounted BPF file system in which programs and maps are pinned.
    #[arg(long, env = "WEFT_PROXY_BPFFS", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// The cgroup (v2) to attach to. Default: the root of the hierarchy.
    #[arg(long, env = "WEFT_PROXY_CGROUP", default_value_os_t = default_attach_point())]
    pub cgroup: PathBuf,
    /// Folder with the pods' network namespaces, bind-mounted as NAMESPACE_NAME.
    #[arg(long, env = "WEFT_PROXY_NETNS_DIR")]
    pub netns_dir: Option<PathBuf>,
    /// The container runtime's NRI socket (containerd 2, CRI-O). Pods are served before their containers start.
    #[arg(long, env = "WEFT_PROXY_NRI_SOCKET")]
    pub nri_socket: Option<PathBuf>,
    /// The node's /proc, to find pods by the cgroups of their processes where the container runtime does not tell.
    #[arg(long, env = "WEFT_PROXY_PROC")]
    pub proc: Option<PathBuf>,
    /// The node's own network namespace.
    #[arg(long, env = "WEFT_PROXY_HOST_NETNS", default_value = "/proc/1/ns/net")]
    pub host_netns: PathBuf,
    /// The kernel's type information (BTF); splicing needs it.
    #[arg(long, env = "WEFT_PROXY_BTF", default_value = "/sys/kernel/btf/vmlinux")]
    pub btf: PathBuf,
    /// Address of the admin server. With port 0 a free one is chosen and written to STATE_DIR/admin-address.
    #[arg(long, env = "WEFT_PROXY_ADMIN", default_value = "127.0.0.1:4191")]
    pub admin: SocketAddr,
    /// The identity of the tap service, which may see the pods' requests. Without it nobody may.
    #[arg(long, env = "WEFT_PROXY_TAP_IDENTITY")]
    #[serde(serialize_with = "text")]
    pub tap_identity: Option<Identity>,
    /// Address at which the tap service is answered, if there is one. With port 0 a free one is chosen and written to
    /// STATE_DIR/tap-address.
    #[arg(long, env = "WEFT_PROXY_TAP", default_value = "[::]:4190")]
    pub tap: SocketAddr,
    /// The cluster's networks, for the cluster-… policies.
    #[arg(
        long,
        env = "WEFT_PROXY_CLUSTER_NETWORKS",
        value_delimiter = ',',
        default_value = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"
    )]
    pub cluster_networks: Vec<IpNet>,
    /// File that exists while this process is ready, for `weft-proxy ready`.
    #[arg(long, env = "WEFT_PROXY_READY_FILE")]
    pub ready_file: Option<PathBuf>,
    /// After a takeover, end when told to (SIGTERM) rather than when all connections have ended. For supervisors that
    /// start again what ends, as Kubernetes does.
    #[arg(long, env = "WEFT_PROXY_STAY_UNTIL_SIGNAL")]
    pub stay_until_signal: bool,
    /// How long open connections may take to end after SIGTERM (20s, 2m).
    #[arg(long, env = "WEFT_PROXY_DRAIN_TIMEOUT", value_parser = duration, default_value = "120s")]
    pub drain_timeout: Duration,
    /// How long protocol detection and a TLS handshake may take.
    #[arg(long, env = "WEFT_PROXY_DETECT_TIMEOUT", value_parser = duration, default_value = "10s")]
    pub detect_timeout: Duration,
    /// How long a client may take to send the head of an HTTP/1 request, from its first byte on.
    #[arg(long, env = "WEFT_PROXY_HTTP_HEAD_TIMEOUT", value_parser = duration, default_value = "30s")]
    pub http_head_timeout: Duration,
    /// How long the other side of an HTTP/1 connection may acknowledge nothing of what was sent; 0s for as long as the
    /// kernel tries.
    #[arg(long, env = "WEFT_PROXY_HTTP_SILENCE_TIMEOUT", value_parser = duration, default_value = "30s")]
    pub http_silence_timeout: Duration,
    /// How long a connection waits for its workload's first certificate.
    #[arg(long, env = "WEFT_PROXY_CERTIFICATE_TIMEOUT", value_parser = duration, default_value = "3s")]
    pub certificate_timeout: Duration,
    /// Close connections on which no byte moved for this long; 0s never.
    #[arg(long, env = "WEFT_PROXY_IDLE_TIMEOUT", value_parser = duration, default_value = "0s")]
    pub idle_timeout: Duration,
    /// New connections follow their workload's fail mode after this long without a heartbeat of the proxy.
    #[arg(long, env = "WEFT_PROXY_STALE_AFTER", value_parser = duration, default_value = "5s")]
    pub stale_after: Duration,
    /// Connections that one workload may have open, inbound and outbound together.
    #[arg(long, env = "WEFT_PROXY_MAX_CONNECTIONS_PER_WORKLOAD", default_value_t = 20_000)]
    pub max_connections_per_workload: usize,
    /// Let opaque connections between pods of this node bypass the proxy, once policy has allowed one. auto: only where no
    /// other pod shares the links that they use.
    #[arg(long, env = "WEFT_PROXY_DIRECT_PASS", value_enum, default_value_t)]
    pub direct_pass: DirectPass,
    /// Connections that all workloads together may have open; 0 for as many as the limit of open files allows. A workload
    /// may use no more of them than it leaves to others.
    #[arg(long, env = "WEFT_PROXY_MAX_CONNECTIONS", default_value_t = 0)]
    pub max_connections: usize,
    /// HTTP requests that all workloads together may have in flight, in each direction. A workload may use no more of
    /// them than it leaves to others.
    #[arg(long, env = "WEFT_PROXY_MAX_REQUESTS", default_value_t = 100_000)]
    pub max_requests: usize,
    /// Bytes that the HTTP/2 streams of one workload may hold while nobody reads them. Above it, the streams that were not
    /// read for longest are reset.
    #[arg(
        long,
        env = "WEFT_PROXY_MAX_UNREAD",
        value_parser = unread_bytes,
        default_value_t = 64 * 1024 * 1024
    )]
    pub max_unread: usize,
    /// Worker threads for connections. Default: one per core.
    #[arg(long, env = "WEFT_PROXY_WORKERS")]
    pub workers: Option<usize>,
    /// Format of log lines.
    #[arg(long, env = "WEFT_PROXY_LOG_FORMAT", value_enum, default_value_t)]
    #[serde(skip)]
    pub log_format: logging::Format,
    /// A tracing filter: a level, or directives (info,weft_proxy::connection=debug).
    #[arg(long, env = "WEFT_PROXY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Let the eBPF programs log each decision at debug level. Slow.
    #[arg(long, env = "WEFT_PROXY_EBPF_LOG")]
    pub ebpf_log: bool,
}

impl Config {
    /// The identity that the control plane must prove.
    ///
    /// # Errors
    /// The namespace or the trust domain cannot be part of an identity.
    pub fn expected_control_identity(&self) -> Result<Identity, InvalidIdentity> {
        match &self.control_identity {
            Some(identity) => Ok(identity.clone()),
            None => self.identity_of("weft-control"),
        }
    }

    /// The identity of node proxies.
    ///
    /// # Errors
    /// The namespace or the trust domain cannot be part of an identity.
    pub fn own_identity(&self) -> Result<Identity, InvalidIdentity> {
        self.identity_of("weft-proxy")
    }

    /// How HTTP is served on `workers` threads.
    pub fn http(&self, workers: usize) -> http::Config {
        http::Config {
            workers,
            head_timeout: self.http_head_timeout,
            silence_timeout: self.http_silence_timeout,
            max_unread: self.max_unread,
        }
    }

    fn identity_of(&self, account: &str) -> Result<Identity, InvalidIdentity> {
        let Self { control_plane_namespace: namespace, trust_domain, .. } = self;
        format!("{account}.{namespace}.serviceaccount.identity.{namespace}.{trust_domain}").parse()
    }
}

fn text<S: serde::Serializer>(identity: &Option<Identity>, serializer: S) -> Result<S::Ok, S::Error> {
    identity.as_ref().map(Identity::as_str).serialize(serializer)
}

/// `20s`, `500ms`, `2m`, `1h 30m`: what humantime reads.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration ({error}); write 500ms, 20s, 2m or 24h"))
}

/// A number of bytes that leaves each of a few streams its window.
fn unread_bytes(text: &str) -> Result<usize, String> {
    const LEAST: usize = 1024 * 1024;
    match text.parse() {
        Ok(bytes) if bytes >= LEAST => Ok(bytes),
        _ => Err(format!("{text:?} is not a number of bytes from {LEAST} on; write 67108864 for 64 MiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_unread_bytes_is_a_number_that_leaves_streams_their_windows() {
        assert_eq!(unread_bytes("67108864"), Ok(64 << 20));
        for bad in ["", "64MiB", "1000", "-1"] {
            assert!(unread_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "10", "1parsec", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
