//! Gives nodes and pods their links, addresses and routes.
//!
//! Each pod has its own link to its node, which routes: most Kubernetes networks do that, and it keeps pods from
//! reading each other's packets. Or all pods of all nodes share one bridge, where a pod can attack its neighbours more
//! easily.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::allot::{NodeNet, in_pod_network};
use crate::error::Result;
use crate::netns;
use crate::tool::{ask, feed};

/// The bridge of each node, to the others and maybe to its pods, and of the fabric between nodes.
pub const BRIDGE: &str = "br0";
/// A node's link to the others: packets captured here have left the node.
pub const WIRE: &str = "wire";

/// The node's IPv6 address on each pod's link.
const GATEWAY6: &str = "fe80::1";

/// The links between pods and nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// To the node alone, which routes.
    #[default]
    Own,
    /// To one bridge, with the pods of all nodes.
    Bridge,
}

/// After that a link that still has no carrier is left as it is.
const CARRIER_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs lines of `ip -batch` in the calling thread's network namespace, in one process.
pub fn batch(lines: &str) -> Result<()> {
    feed("ip", "iproute2", &["-batch", "-"], lines)
}

/// Makes the bridge that connects the nodes.
pub fn fabric(path: &Path) -> Result<()> {
    netns::run(path, || {
        quiet_ipv6();
        unfiltered_bridge();
        batch(&format!(
            "link set lo up\nlink add {BRIDGE} type bridge mcast_snooping 0\nlink set {BRIDGE} up\n"
        ))
    })?
}

/// Makes a node's bridge with the gateway addresses of its pods, and its wire to the fabric.
pub fn node(path: &Path, fabric: &Path, net: NodeNet) -> Result<()> {
    netns::run(path, || {
        quiet_ipv6();
        unfiltered_bridge();
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            // All pods are on one link. Pods with foreign addresses are reached through the node, which must not send
            // redirects.
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ] {
            netns::sysctl(name, value)?;
        }
        let (v4, v6, port) = (net.gateway4(), net.gateway6(), fabric_port(net));
        batch(&format!(
            "link set lo up\n\
             link add {BRIDGE} address {mac} type bridge mcast_snooping 0\n\
             addr add {v4}/16 dev {BRIDGE}\n\
             addr add {v6}/48 dev {BRIDGE} nodad\n\
             link add {WIRE} type veth peer name {port} netns {fabric}\n\
             link set {WIRE} master {BRIDGE}\n\
             link set {WIRE} up\n\
             link set {BRIDGE} up\n",
            mac = mac(v4.into()),
            fabric = fabric.display(),
        ))
    })??;
    netns::run(fabric, || {
        batch(&format!("link set {port} master {BRIDGE}\nlink set {port} up\n", port = fabric_port(net)))
    })?
}

/// The fabric's end of a node's wire.
pub fn fabric_port(net: NodeNet) -> String {
    format!("node{}", net.number)
}

/// Connects a pod to its node by the veth pair `eth0` - `port`.
pub fn pod(path: &Path, node: &Path, net: NodeNet, links: Links, port: &str, ips: &[IpAddr]) -> Result<()> {
    let wired = format!(
        "link set lo up\nlink add eth0 address {} type veth peer name {port} netns {}\nlink set eth0 up\n",
        mac(ips.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
        node.display()
    );
    let (inside, outside) = match links {
        Links::Own => routed(net, port, ips),
        Links::Bridge => bridged(net, port, ips),
    };
    netns::run(path, || {
        quiet_ipv6();
        batch(&(wired + &inside))
    })??;
    netns::run(node, || batch(&outside))??;
    settle(node, &[port])
}

/// Lines for `ip` in the pod, and in the node.
type Lines = (String, String);

fn routed(net: NodeNet, port: &str, ips: &[IpAddr]) -> Lines {
    let (mut inside, mut outside) = (String::new(), format!("link set {port} up\n"));
    // Writing to a String cannot fail.
    if ips.iter().any(IpAddr::is_ipv4) {
        let gateway = net.gateway4();
        let _ = writeln!(inside, "route add {gateway} dev eth0\nroute add default via {gateway} dev eth0");
    }
    if ips.iter().any(IpAddr::is_ipv6) {
        let _ = writeln!(inside, "route add default via {GATEWAY6} dev eth0");
        let _ = writeln!(outside, "addr add {GATEWAY6}/64 dev {port} nodad");
    }
    for ip in ips {
        match ip {
            IpAddr::V4(v4) => {
                inside.insert_str(0, &format!("addr add {v4}/32 dev eth0\n"));
                let _ = writeln!(outside, "route add {v4}/32 dev {port} src {}", net.gateway4());
            }
            IpAddr::V6(v6) => {
                inside.insert_str(0, &format!("addr add {v6}/128 dev eth0 nodad\n"));
                let _ = writeln!(outside, "route add {v6}/128 dev {port} src {}", net.gateway6());
            }
        }
    }
    (inside, outside)
}

fn bridged(net: NodeNet, port: &str, ips: &[IpAddr]) -> Lines {
    let (mut inside, mut outside) =
        (String::new(), format!("link set {port} master {BRIDGE}\nlink set {port} up\n"));
    for (v4, gateway, network) in [
        (true, IpAddr::from(net.gateway4()), "10.244.0.0/16"),
        (false, net.gateway6().into(), "fd00:10:244::/48"),
    ] {
        let mut local = true;
        for ip in ips.iter().filter(|ip| ip.is_ipv4() == v4) {
            local = in_pod_network(*ip);
            let (prefix, nodad) = match (local, v4) {
                (true, true) => (16, ""),
                (true, false) => (48, " nodad"),
                (false, true) => (32, ""),
                (false, false) => (128, " nodad"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(inside, "addr add {ip}/{prefix} dev eth0{nodad}");
            if !local {
                let _ = writeln!(outside, "route add {ip}/{prefix} dev {BRIDGE}");
            }
        }
        if ips.iter().any(|ip| ip.is_ipv4() == v4) {
            if !local {
                // An address from elsewhere: the pods' network is still on this link.
                let _ = writeln!(inside, "route add {network} dev eth0");
            }
            let _ = writeln!(inside, "route add default via {gateway} dev eth0");
        }
    }
    (inside, outside)
}

/// Waits until links carry packets. The kernel tells a bridge about a new carrier up to a second late; a port that does
/// not forward yet drops what arrives.
pub fn settle(path: &Path, links: &[&str]) -> Result<()> {
    netns::run(path, || {
        let end = Instant::now() + CARRIER_TIMEOUT;
        loop {
            let up = ask("ip", "iproute2", &["-o", "-d", "link", "show", "up"], "")?;
            let carries = |link: &&str| {
                let head = format!(": {link}");
                up.lines().any(|line| {
                    line.split_once(&head).is_some_and(|(_, rest)| rest.starts_with(['@', ':']))
                        && line.contains(" state UP ")
                        && (!line.contains(" bridge_slave ")
                            || line.contains(" bridge_slave state forwarding "))
                })
            };
            if links.iter().all(carries) || Instant::now() > end {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    })?
}

/// Adds or removes, on another node, the routes to a pod's foreign addresses: those outside the range of its node.
pub fn route(node: &Path, net: NodeNet, links: Links, ips: &[IpAddr], add: bool) -> Result<()> {
    let verb = if add { "replace" } else { "del" };
    let lines: String = ips
        .iter()
        .filter_map(|ip| {
            let to = format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 });
            match links {
                Links::Own if !net.holds(*ip) => Some(through(&to, net, verb, ip.is_ipv4())),
                Links::Bridge if !in_pod_network(*ip) => Some(format!("route {verb} {to} dev {BRIDGE}\n")),
                _ => None,
            }
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { netns::run(node, || batch(&lines))? }
}

/// Adds the routes to the pods of the other nodes.
pub fn neighbours(node: &Path, others: &[NodeNet]) -> Result<()> {
    let lines: String = others
        .iter()
        .flat_map(|net| {
            [
                through(&format!("{}/24", net.range4()), *net, "add", true),
                through(&format!("{}/64", net.range6()), *net, "add", false),
            ]
        })
        .collect();
    netns::run(node, || batch(&lines))?
}

fn through(to: &str, net: NodeNet, verb: &str, v4: bool) -> String {
    let gateway: IpAddr = if v4 { net.gateway4().into() } else { net.gateway6().into() };
    // onlink: the gateway's address is in the range that it leads to, which the kernel would refuse.
    format!("route {verb} {to} via {gateway} dev {BRIDGE} onlink\n")
}

/// Removes a pod's link at once: open sockets may keep the namespace alive.
pub fn unplug(node: &Path, port: &str) -> Result<()> {
    netns::run(node, || batch(&format!("link del {port}\n")))?
}

/// A link-layer address derived from the IP: when a pod gets its predecessor's address, its neighbours' caches are still
/// right.
fn mac(ip: IpAddr) -> String {
    let [a, b, c, d] = match ip {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [o[7], o[13], o[14], o[15]]
        }
    };
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Turns off duplicate address detection, so that addresses are usable at once, also link-local ones. Errors are
/// ignored: without IPv6, adding the first address fails with a clearer message.
fn quiet_ipv6() {
    for name in ["all", "default"] {
        let _ = netns::sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
        let _ = netns::sysctl(&format!("net/ipv6/conf/{name}/dad_transmits"), "0");
    }
}

/// Keeps bridged packets out of netfilter. Without br_netfilter the kernel does not send them there anyway.
fn unfiltered_bridge() {
    for name in ["iptables", "ip6tables", "arptables"] {
        let _ = netns::sysctl(&format!("net/bridge/bridge-nf-call-{name}"), "0");
    }
}
