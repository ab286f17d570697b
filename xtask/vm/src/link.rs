//! How do nodes and pods get their links, addresses and routes?
//!
//! A node's pods have a link of their own each, to the node, which routes: what most networks of Kubernetes do, and
//! what keeps pods from reading each other's packets. Or they share a bridge with each other and all other nodes':
//! the harder ground for whoever has to fear his neighbours.

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
/// A node's link to the others: what is captured here has left the node.
pub const WIRE: &str = "wire";

/// The node as its pods see it by IPv6, on each of their links.
const GATEWAY6: &str = "fe80::1";

/// What pods' links are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// To the node alone, which routes.
    #[default]
    Own,
    /// To one bridge, with the pods of all nodes.
    Bridge,
}

/// A link that carries nothing by then never will; whoever uses it finds out.
const SETTLING: Duration = Duration::from_secs(3);

/// Runs lines of `ip -batch` in the calling thread's network namespace: one process however many lines.
pub fn batch(lines: &str) -> Result<()> {
    feed("ip", "iproute2", &["-batch", "-"], lines)
}

/// Makes the bridge that joins the nodes.
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
            // All pods are on one link; pods with an address from elsewhere are reached through the node, which must
            // not answer with "go there yourself".
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ] {
            netns::sysctl(name, value)?;
        }
        let (v4, v6) = (net.gateway4(), net.gateway6());
        batch(&format!(
            "link set lo up\n\
             link add {BRIDGE} address {mac} type bridge mcast_snooping 0\n\
             addr add {v4}/16 dev {BRIDGE}\n\
             addr add {v6}/48 dev {BRIDGE} nodad\n\
             link add {WIRE} type veth peer name node{n} netns {fabric}\n\
             link set {WIRE} master {BRIDGE}\n\
             link set {WIRE} up\n\
             link set {BRIDGE} up\n",
            mac = mac(v4.into()),
            n = net.number,
            fabric = fabric.display(),
        ))
    })??;
    netns::run(fabric, || {
        batch(&format!("link set node{n} master {BRIDGE}\nlink set node{n} up\n", n = net.number))
    })?
}

/// Joins a pod to its node by the veth pair `eth0` - `port`.
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

/// What is said to `ip` in the pod, and at the node.
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

/// Waits until links carry packets: the kernel tells bridges of a new carrier up to a second after it came, and
/// what is sent meanwhile is lost.
pub fn settle(path: &Path, links: &[&str]) -> Result<()> {
    netns::run(path, || {
        let end = Instant::now() + SETTLING;
        loop {
            let up = ask("ip", "iproute2", &["-o", "link", "show", "up"], "")?;
            let carries = |link: &&str| {
                let head = format!(": {link}");
                up.lines().any(|line| {
                    line.split_once(&head).is_some_and(|(_, rest)| rest.starts_with(['@', ':']))
                        && line.contains(" state UP ")
                })
            };
            if links.iter().all(carries) || Instant::now() > end {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    })?
}

/// Lets another node, or no longer, reach what it cannot know to be at `net`: the addresses of a pod there that are not
/// of its node's own.
pub fn route(node: &Path, net: NodeNet, links: Links, ips: &[IpAddr], add: bool) -> Result<()> {
    let verb = if add { "replace" } else { "del" };
    let lines: String = ips
        .iter()
        .filter_map(|ip| {
            let to = format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 });
            match links {
                Links::Own if !net.holds(*ip) => Some(through(&to, net, verb, ip.is_ipv4())),
                Links::Bridge if !in_pod_network(*ip) => Some(format!(
                    "route {verb} {to} dev {BRIDGE}
"
                )),
                _ => None,
            }
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { netns::run(node, || batch(&lines))? }
}

/// Lets a node reach the pods of the others.
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
    // The gateway is of a range that is itself behind it, which the kernel would hold against it.
    format!("route {verb} {to} via {gateway} dev {BRIDGE} onlink\n")
}

/// Takes a pod's link away at once: the namespace itself may live on in open sockets.
pub fn unplug(node: &Path, port: &str) -> Result<()> {
    netns::run(node, || batch(&format!("link del {port}\n")))?
}

/// A link-layer address derived from the IP: a pod that gets its predecessor's address also gets its neighbours'
/// cached entries right.
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

/// No duplicate address detection: addresses are usable at once, link-local ones too. A kernel without IPv6 says so
/// when the first address is added, which is the clearer message.
fn quiet_ipv6() {
    for name in ["all", "default"] {
        let _ = netns::sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
        let _ = netns::sysctl(&format!("net/ipv6/conf/{name}/dad_transmits"), "0");
    }
}

/// Bridged packets do not visit netfilter; where the kernel has no br_netfilter they do not anyway.
fn unfiltered_bridge() {
    for name in ["iptables", "ip6tables", "arptables"] {
        let _ = netns::sysctl(&format!("net/bridge/bridge-nf-call-{name}"), "0");
    }
}
