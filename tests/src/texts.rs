//! Texts of weft's logs, metrics and maps that scenarios look for, in one place so that they can be changed together.

/// Parts of log lines.
pub mod log {
    pub const CLOCK_SET: &str = "the clock was set";
    pub const CONNECTION_NOT_ACCEPTED: &str = "could not be accepted";
    pub const CONNECTION_REFUSED: &str = "refused";
    pub const DENIED: &str = "denied";
    pub const DETECTION_TIMEOUT: &str = "tls detection timeout";
    pub const DIRECT_CONNECTION_TERMINATED: &str = "terminated";
    pub const DIRECT_PASS_UNTRUSTED_LINK: &[&str] =
        &["other pods may share the pod's link", "is on a bridge"];
    pub const DRAIN_TIMEOUT: &str = "drain timeout";
    pub const FORGED: &str = "completed by a different peer";
    pub const KERNEL_LIMIT: &str = "bound of the kernel side";
    pub const LIMIT_FOR_OTHER_CLIENTS: &str = "its quota of the workload's connections";
    pub const LIMIT_FOR_OTHER_WORKLOADS: &str = "its quota of the node's connections";
    pub const LISTENERS_DESTROYED: &str = "destroyed";
    pub const NO_ORIGINAL_DESTINATION: &str = "original destination";
    pub const NOT_SPLICED: &str = "not spliced";
    pub const PROXYS_OWN_PORT: &str = "the proxy's port";
    pub const REPEATED: &[&str] = &["more lines of the same kind", "lines="];
    pub const TOO_MANY_RANGES: &str = "too many ranges";
}

/// Values of the label `error` of `inbound_tcp_errors_total` and `outbound_tcp_errors_total`.
pub mod error {
    pub const CLIENT_LIMIT: &str = "loadshed client";
    pub const DETECTION_TIMEOUT: &str = "tls detection timeout";
    pub const HANDSHAKE_TIMEOUT: &str = "handshake_timeout";
    pub const IO: &str = "i/o";
    pub const NO_ORIGINAL_DESTINATION: &str = "no original destination";
    pub const NODE_LIMIT: &str = "loadshed node";
    pub const NOT_STEERED: &str = "no original destination";
}

/// Values of the label `outcome` of `weft_capture_total`.
pub mod outcome {
    pub const DIRECT_ACCEPTED: &str = "direct_accepted";
    pub const DIRECT_FORGED: &str = "direct_forged";
    pub const DIRECT_QUOTA: &str = "direct_crowded";
    pub const HANDSHAKE_QUOTA: &str = "quota_rendezvous";
    pub const HANDSHAKES_FULL: &str = "map_full_rendezvous";
    pub const HOST_FULL: &str = "map_full_host";
    pub const FLOWS_FULL: &str = "map_full_flows";
    pub const LISTENER_QUOTA: &str = "quota_listeners";
    pub const LISTENERS_FULL: &str = "map_full_listeners";
    pub const SPLICE_FULL: &str = "map_full_splice";
    pub const UNKNOWN_ADDRESS: &str = "refused_unknown_address";
}

/// Values of the label `change` of `weft_direct_pass_changes_total`.
pub mod change {
    pub const GRANTED: &str = "granted";
    pub const WITHDRAWN_BY_CONFIG: &str = "withdrawn_terms";
    pub const WITHDRAWN_BY_DESTINATION: &str = "withdrawn_destination";
    pub const WITHDRAWN_BY_MEMBERSHIP: &str = "withdrawn_membership";
}

/// Names of eBPF maps.
pub mod map {
    pub const DIRECT_CONNECTIONS: &str = "DIRECT_BY_TUPLE";
    pub const HANDSHAKES: &str = "ORIGINAL_DST_BY_TUPLE";
    pub const HOST_CONNECTIONS: &str = "HOST_CONNECTIONS";
    pub const LISTENERS: &str = "LISTENERS_BY_ADDR";
    pub const SPLICED_PAIRS: &str = "PAIR_BY_COOKIE";
    /// As `weft_capture_map_entries` calls them.
    pub const LISTENER_LABELS: [&str; 2] = ["listeners", "seeded"];
}
