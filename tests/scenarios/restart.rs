//! Ends, restarts and upgrades of the proxy and the control plane, and what applications notice of them.

mod away;
mod clock;
mod draining;
mod enrollment;
mod fail_closed;
mod fail_open;
mod killed;
mod killed_in_takeover;
mod loads;
mod sigterm;
mod upgrade;
mod versions;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    mesh::{Description, Mesh, mesh},
    suite::Area,
};

pub(crate) fn area() -> Area {
    let groups: [fn(Area) -> Area; 11] = [
        upgrade::scenarios,
        killed_in_takeover::scenarios,
        draining::scenarios,
        versions::scenarios,
        clock::scenarios,
        enrollment::scenarios,
        away::scenarios,
        sigterm::scenarios,
        killed::scenarios,
        fail_closed::scenarios,
        fail_open::scenarios,
    ];
    groups.into_iter().fold(Area::new("restart", short_drain), |area, scenarios| scenarios(area))
}

const DRAIN: Duration = Duration::from_secs(8);

/// [`two_modes`] with a short drain timeout.
fn short_drain() -> Description {
    two_modes().proxy_arg(&format!("--drain-timeout={}s", DRAIN.as_secs()))
}

/// A client and servers of each fail mode, and unmeshed pods.
fn two_modes() -> Description {
    ["closed", "open"]
        .into_iter()
        .fold(mesh("restart"), |cluster, mode| {
            let (client, server) = (format!("{mode}-client"), format!("{mode}-server"));
            let near = format!("{mode}-near");
            cluster
                .pod(&client, |pod| pod.node("a").meshed().fail_mode(mode))
                .pod(&server, |pod| pod.node("b").meshed().fail_mode(mode))
                .pod(&near, |pod| pod.node("a").meshed().fail_mode(mode))
                .service(&server, |service| service.port(80, 8080))
                .service(&near, |service| service.port(80, 8080))
        })
        .pod("plain-client", |pod| pod.node("a").unmeshed())
        .pod("plain-server", |pod| pod.node("b").unmeshed())
}

fn ping(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"ping");
    Ok(())
}

fn request(mesh: &Mesh, client: &str, target: SocketAddr) -> Result<()> {
    ping(&mut mesh.pod(client).connect(target)?)
}

/// Fails if the current process of node `b` has counted plaintext to the closed server.
fn nothing_in_plaintext(mesh: &Mesh) -> Result<()> {
    let plaintext =
        [("direction", "inbound"), ("peer", "src"), ("pod", "closed-server"), ("tls", "no_identity")];
    mesh.proxy("b").metrics()?.expect("tcp_open_total", &plaintext, 0.0)
}

fn revive(mesh: &Mesh) -> Result<()> {
    for proxy in mesh.proxies() {
        proxy.revive().with_context(|| proxy.to_string())?;
    }
    mesh.until_enrolled()
}
