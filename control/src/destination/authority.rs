//! Parses the path of a request: a service, a pod of a headless service, or an address.

use std::net::{IpAddr, SocketAddr};

use tonic::Status;

use crate::{model::Name, names};

/// The destination that a proxy asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    Address(SocketAddr),
    Service { service: ServiceName, port: u16 },
}

/// `[hostname.]name.namespace.svc.<cluster domain>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    pub(crate) name: Name,
    pub(crate) hostname: Option<String>,
}

/// The port of a path without one.
const DEFAULT_PORT: u16 = 80;

impl Authority {
    /// A path that can never name something in this cluster is an invalid argument, which proxies consider final.
    pub(crate) fn parse(path: &str, cluster_domain: &str) -> Result<Self, Status> {
        let invalid = || Status::invalid_argument(format!("Invalid authority: {path}"));
        if let Ok(address) = path.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(invalid()),
                port => Ok(Self::Address(SocketAddr::new(address.ip().to_canonical(), port))),
            };
        }
        if let Ok(ip) = path.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip.to_canonical(), DEFAULT_PORT)));
        }
        let (host, port) = match path.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)?),
            None => (path, DEFAULT_PORT),
        };
        let service = ServiceName::parse(host, cluster_domain).ok_or_else(invalid)?;
        Ok(Self::Service { service, port })
    }
}

impl ServiceName {
    fn parse(host: &str, cluster_domain: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let local = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
        let labels: Vec<&str> = local.split('.').collect();
        if !labels.iter().all(|label| names::is_label(label)) {
            return None;
        }
        let (hostname, name, namespace) = match labels[..] {
            [name, namespace] => (None, name, namespace),
            [hostname, name, namespace] => (Some(hostname.to_owned()), name, namespace),
            _ => return None,
        };
        Some(Self { name: Name { namespace: namespace.to_owned(), name: name.to_owned() }, hostname })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(path: &str) -> Option<(String, String, Option<String>, u16)> {
        match Authority::parse(path, "cluster.local") {
            Ok(Authority::Service { service, port }) => {
                Some((service.name.name, service.name.namespace, service.hostname, port))
            }
            _ => None,
        }
    }

    #[test]
    fn reads_services_pods_and_addresses() {
        let web = |port| Some(("web".into(), "demo".into(), None, port));
        assert_eq!(service("web.demo.svc.cluster.local:8080"), web(8080));
        assert_eq!(service("Web.Demo.svc.cluster.local."), web(80));
        let pod = Some(("web".into(), "demo".into(), Some("web-0".into()), 80));
        assert_eq!(service("web-0.web.demo.svc.cluster.local:80"), pod);
        for (path, address) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00::1]:443", "[fd00::1]:443"),
            ("[::ffff:10.0.0.1]:443", "10.0.0.1:443"),
            ("10.0.0.1", "10.0.0.1:80"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(
                Authority::parse(path, "cluster.local").unwrap(),
                Authority::Address(address),
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_outside_the_cluster_is_an_invalid_argument() {
        for path in [
            "",
            "example.com:443",
            "web.demo.svc:80",
            "web.svc.cluster.local:80",
            "a.b.c.d.svc.cluster.local:80",
            "web.demo.svc.cluster.local:0",
            "web.demo.svc.cluster.local:99999",
            "web.demo.svc.cluster.local:http",
            "10.0.0.1:0",
            "web..svc.cluster.local:80",
        ] {
            let status = Authority::parse(path, "cluster.local").unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{path}");
        }
    }
}
