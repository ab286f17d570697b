//! Writes a pod's /etc/hosts: every service's name, its own, and those of pods behind headless services.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

use crate::desired::{Desired, ServiceKey};
use crate::endpoints::{Serving, selected};
use crate::error::{Error, Result};

/// The domain of all services.
const DOMAIN: &str = "svc.cluster.local";

/// The text of /etc/hosts for a pod in `namespace`.
pub(crate) fn text(
    desired: &Desired,
    cluster_ips: &BTreeMap<ServiceKey, Vec<IpAddr>>,
    serving: &Serving,
    namespace: &str,
    hostname: &str,
    ips: &[IpAddr],
) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let mut line = |ip: &IpAddr, names: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{ip} {names}");
    };
    for ip in ips {
        line(ip, hostname);
    }
    for (key, service) in &desired.services {
        let (service_namespace, name) = key;
        let names = names(service_namespace, name, namespace);
        if let Some(ips) = cluster_ips.get(key) {
            for ip in ips {
                line(ip, &names);
            }
            continue;
        }
        for (pod, manifest, ips) in selected(desired, service_namespace, service, serving) {
            let spec = manifest.spec.as_ref();
            let own = spec.filter(|spec| spec.subdomain.as_ref() == Some(name)).map(|spec| {
                let hostname = spec.hostname.as_deref().unwrap_or(&pod.name);
                format!(" {hostname}.{name}.{service_namespace}.{DOMAIN} {hostname}.{name}")
            });
            for ip in ips {
                line(ip, &format!("{names}{}", own.as_deref().unwrap_or_default()));
            }
        }
    }
    text
}

/// Writes in place: this inode is mounted over the pods' /etc/hosts.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io("open", path))?;
    // Truncated after the write: a reader never finds an empty file.
    file.write_all(text.as_bytes())
        .and_then(|()| file.set_len(text.len() as u64))
        .map_err(Error::io("write", path))
}

/// `web.demo.svc.cluster.local web.demo.svc web.demo`, and `web` within its own namespace.
fn names(namespace: &str, name: &str, seen_from: &str) -> String {
    let short = if namespace == seen_from { format!(" {name}") } else { String::new() };
    format!("{name}.{namespace}.{DOMAIN} {name}.{namespace}.svc {name}.{namespace}{short}")
}
