//! The health checks that a pod's specification declares: which requests are such a check.

use std::collections::{HashMap, HashSet};

/// What the kubelet calls for `grpc` checks.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A health check over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub port: u16,
    pub path: String,
    /// It is made over the application's own TLS, so that only the application sees the path.
    pub tls: bool,
}

/// All health checks of a workload. Those that only open a TCP connection need no permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes(HashMap<u16, PortProbes>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PortProbes {
    paths: HashSet<String>,
    tls: bool,
}

impl Probes {
    pub fn new(probes: impl IntoIterator<Item = Probe>) -> Self {
        let mut all = HashMap::<u16, PortProbes>::new();
        for Probe { port, path, tls } in probes {
            let port = all.entry(port).or_default();
            if tls {
                port.tls = true;
            } else {
                // As requests have it: with a slash, and without the query.
                let path = path.split('?').next().unwrap_or_default();
                let slash = if path.starts_with('/') { "" } else { "/" };
                port.paths.insert(format!("{slash}{path}"));
            }
        }
        Self(all)
    }

    /// Whether health checks of this port are declared.
    pub fn has_port(&self, port: u16) -> bool {
        self.0.contains_key(&port)
    }

    /// Whether a request to `port` is such a check; `path` is without its query.
    pub fn is_request(&self, port: u16, method: &str, path: &str) -> bool {
        let is_method_of_probes = method == "GET" || method == "POST" && path == GRPC_HEALTH;
        is_method_of_probes && self.0.get(&port).is_some_and(|probes| probes.paths.contains(path))
    }

    /// Whether a connection with TLS to `port` may be such a check.
    pub fn is_over_tls(&self, port: u16) -> bool {
        self.0.get(&port).is_some_and(|probes| probes.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes() -> Probes {
        let probe = |port, path: &str, tls| Probe { port, path: path.to_owned(), tls };
        Probes::new([
            probe(80, "/ready?verbose=1", false),
            probe(80, "live", false),
            probe(443, "/tls", true),
            probe(9000, GRPC_HEALTH, false),
        ])
    }

    #[test]
    fn a_request_is_a_check_if_method_port_and_path_are_declared() {
        for (port, method, path, expected) in [
            (80, "GET", "/ready", true),
            (80, "GET", "/live", true),
            (80, "POST", "/ready", false),
            (80, "HEAD", "/ready", false),
            (80, "GET", "/ready/", false),
            (80, "GET", "/", false),
            (80, "GET", "/READY", false),
            (81, "GET", "/ready", false),
            (443, "GET", "/tls", false),
            (9000, "POST", GRPC_HEALTH, true),
            (9000, "POST", "/grpc.health.v1.Health/Watch", false),
            (80, "POST", GRPC_HEALTH, false),
        ] {
            assert_eq!(probes().is_request(port, method, path), expected, "{method} {path} to {port}");
        }
    }

    #[test]
    fn only_ports_with_checks_over_tls_have_them() {
        assert!(probes().is_over_tls(443));
        assert!(!probes().is_over_tls(80) && !probes().is_over_tls(1));
    }
}
