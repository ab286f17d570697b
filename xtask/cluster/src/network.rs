//! The network of a cluster: the control plane's namespace has a bridge, which joins the nodes and the host.

use std::{fs, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use weft_vm::{link, netns};

use crate::layout::{Layout, NODES, State, pod_range};

const BRIDGE: &str = "nodes";
/// A node's link to the others.
const UPLINK: &str = "eth0";

/// A /24 that the host does not use: `10.99.N.0`, else `172.29.N.0`.
pub(crate) fn choose() -> Result<Ipv4Addr> {
    let output =
        Command::new("ip").args(["-4", "route", "show", "table", "all"]).output().context("ip route")?;
    let taken = networks(&String::from_utf8_lossy(&output.stdout));
    let candidates = (0..=255).map(|n| Ipv4Addr::new(10, 99, n, 0));
    let others = (0..=255).map(|n| Ipv4Addr::new(172, 29, n, 0));
    candidates.chain(others).find(|address| is_free(*address, &taken)).context(
        "the host has routes to all of 10.99.0.0/16 and 172.29.0.0/16: no network is left for the nodes",
    )
}

fn is_free(address: Ipv4Addr, taken: &[Ipv4Net]) -> bool {
    let Ok(own) = Ipv4Net::new(address, 24) else { return false };
    taken.iter().all(|other| !other.contains(&own) && !own.contains(other))
}

/// The destinations in the output of `ip route`, without default routes.
fn networks(text: &str) -> Vec<Ipv4Net> {
    let kinds = ["local", "broadcast", "unicast", "blackhole", "unreachable", "prohibit"];
    let lines = text.lines().filter_map(|line| line.split_whitespace().find(|word| !kinds.contains(word)));
    lines.filter_map(|word| word.parse().ok().or_else(|| Ipv4Net::new(word.parse().ok()?, 32).ok())).collect()
}

/// Makes the namespaces and links.
pub(crate) fn create(layout: &Layout, state: &State) -> Result<()> {
    let control = layout.control_netns();
    fs::create_dir_all(control.parent().context("no folder")?)?;
    netns::create(&control)?;
    let routes: String = (0..NODES.len())
        .map(|index| format!("route add {} via {}\n", pod_range(index), state.node(index)))
        .collect();
    netns::run(&control, || {
        // Packets to elsewhere get an answer that says so.
        netns::sysctl("net/ipv4/ip_forward", "1")?;
        link::batch(&format!(
            "link set lo up\nlink add {BRIDGE} type bridge mcast_snooping 0\naddr add {}/24 dev {BRIDGE}\n\
             link set {BRIDGE} up\n{routes}",
            state.api()
        ))
    })??;
    connect_host(layout, state)?;
    for (index, node) in NODES.iter().enumerate() {
        connect(layout, state, index, node)?;
    }
    Ok(())
}

fn connect_host(layout: &Layout, state: &State) -> Result<()> {
    let (link, control) = (layout.host_link(), layout.control_netns());
    link::batch(&format!(
        "link add {link} type veth peer name host netns {}\naddr add {}/24 dev {link}\nlink set {link} up\n",
        control.display(),
        state.host()
    ))?;
    netns::run(&control, || link::batch(&format!("link set host master {BRIDGE}\nlink set host up\n")))??;
    Ok(())
}

fn connect(layout: &Layout, state: &State, index: usize, node: &str) -> Result<()> {
    let (path, control) = (layout.node_netns(node), layout.control_netns());
    netns::create(&path)?;
    let others = (0..NODES.len()).filter(|other| *other != index);
    let routes: String =
        others.map(|other| format!("route add {} via {}\n", pod_range(other), state.node(other))).collect();
    netns::run(&path, || {
        netns::sysctl("net/ipv4/ip_forward", "1")?;
        netns::sysctl("net/ipv6/conf/all/forwarding", "1")?;
        link::batch(&format!(
            "link set lo up\nlink add {UPLINK} type veth peer name {node} netns {}\naddr add {}/24 dev {UPLINK}\n\
             link set {UPLINK} up\nroute add default via {}\n{routes}",
            control.display(),
            state.node(index),
            state.api()
        ))
    })??;
    netns::run(&control, || link::batch(&format!("link set {node} master {BRIDGE}\nlink set {node} up\n")))??;
    Ok(())
}

/// Removes the namespaces' names and the host's link.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    let folder = layout.root.join("netns");
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        netns::delete(&entry.path())?;
    }
    // Its other end goes with the control plane's namespace, and takes it along; but that may take a moment.
    let link = layout.host_link();
    if fs::exists(format!("/sys/class/net/{link}"))? {
        // It may vanish in between.
        let _ = link::batch(&format!("link del {link}\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_the_host_uses_are_avoided() {
        let routes = "default via 192.0.2.1 dev eth0\n10.99.0.0/24 dev wk-dev proto kernel\n\
                      local 10.99.1.7 dev x table local\nbroadcast 10.99.3.255 dev x\n10.99.4.0/22 via 192.0.2.9\n";
        let taken = networks(routes);
        let free = |n| is_free(Ipv4Addr::new(10, 99, n, 0), &taken);
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(free), [false, false, true, false, false, false, true]);
    }
}
