//! Translates ClusterIPs in every namespace, meshed or not.
//!
//! Each namespace translates its own outgoing packets, as kube-proxy's nftables mode does on a node: a verdict map
//! leads to a chain per service port, and that to one endpoint at random. Packets to a service without an endpoint are
//! refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::error::Result;
use crate::netns;
use crate::tool::feed;

#[cfg(test)]
mod tests;

/// The transport protocols of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port of a service with ClusterIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The ClusterIPs.
    pub ips: Vec<IpAddr>,
    /// The port's protocol.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    pub endpoints: Vec<SocketAddr>,
}

/// Replaces the namespace's rules in one transaction.
pub fn apply(namespace: &Path, script: &str) -> Result<()> {
    netns::run(namespace, || feed("nft", "nftables", &["-f", "-"], script))?
}

/// The whole ruleset as an nft script that replaces what was there.
pub fn script(ports: &[ServicePort]) -> String {
    let mut ips: [Vec<String>; 2] = Default::default();
    let mut services: [BTreeMap<String, String>; 2] = Default::default();
    let mut chains = String::new();
    for (index, port) in ports.iter().enumerate() {
        for (family, v4) in [(0, true), (1, false)] {
            let own =
                port.ips.iter().filter(|ip| ip.is_ipv4() == v4).map(IpAddr::to_string).collect::<Vec<_>>();
            let endpoints: Vec<_> = port.endpoints.iter().filter(|ep| ep.is_ipv4() == v4).collect();
            if !own.is_empty() && !endpoints.is_empty() {
                let chain = format!("port{index}v{}", if v4 { 4 } else { 6 });
                write_chain(&mut chains, &chain, port.protocol, &endpoints);
                for ip in &own {
                    let key = format!("{ip} . {} . {}", port.protocol.name(), port.port);
                    services[family].entry(key).or_insert_with(|| format!("goto {chain}"));
                }
            }
            ips[family].extend(own);
        }
    }
    for list in &mut ips {
        list.sort();
        list.dedup();
    }
    let map = |elements: &BTreeMap<String, String>| {
        elements_line(elements.iter().map(|(key, verdict)| format!("{key} : {verdict}")))
    };
    format!(
        "add table inet weft\n\
         delete table inet weft\n\
         table inet weft {{\n\
         {chains}\
         map services4 {{ type ipv4_addr . inet_proto . inet_service : verdict\n{}}}\n\
         map services6 {{ type ipv6_addr . inet_proto . inet_service : verdict\n{}}}\n\
         set addresses4 {{ type ipv4_addr\n{}}}\n\
         set addresses6 {{ type ipv6_addr\n{}}}\n\
         chain translate {{ type nat hook output priority -100; policy accept;\n\
         ip daddr . meta l4proto . th dport vmap @services4\n\
         ip6 daddr . meta l4proto . th dport vmap @services6\n}}\n\
         chain refuse {{ type filter hook output priority 0; policy accept;\n\
         ip daddr @addresses4 meta l4proto tcp reject with tcp reset\n\
         ip6 daddr @addresses6 meta l4proto tcp reject with tcp reset\n\
         ip daddr @addresses4 meta l4proto udp reject\n\
         ip6 daddr @addresses6 meta l4proto udp reject\n}}\n\
         }}\n",
        map(&services[0]),
        map(&services[1]),
        elements_line(ips[0].iter().cloned()),
        elements_line(ips[1].iter().cloned()),
    )
}

fn write_chain(out: &mut String, name: &str, protocol: Protocol, endpoints: &[&SocketAddr]) {
    let mut choices = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let family = if endpoint.is_ipv4() { "ip" } else { "ip6" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "chain {name}e{index} {{ meta l4proto {} dnat {family} to {endpoint}; }}",
            protocol.name()
        );
        choices.push(format!("{index} : goto {name}e{index}"));
    }
    let _ = writeln!(
        out,
        "chain {name} {{ numgen random mod {} vmap {{ {} }}; }}",
        endpoints.len(),
        choices.join(", ")
    );
}

/// nft knows no empty list of elements.
fn elements_line(elements: impl Iterator<Item = String>) -> String {
    let elements: Vec<_> = elements.collect();
    if elements.is_empty() { String::new() } else { format!("elements = {{ {} }}\n", elements.join(", ")) }
}
