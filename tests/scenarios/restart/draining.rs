//! Policy changes and deleted pods apply to the connections of a draining process.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{backends, mesh::Mesh, suite::Area, wait};

use super::{ping, request, two_modes};

pub(super) fn scenarios(area: Area) -> Area {
    area.alone(
        "draining_follows_changes",
        "A changed policy or a deleted pod ends the connections of a draining process at once, on the same and to \
         another node; others go on.",
        two_modes,
        policies_and_pods,
    )
}

fn policies_and_pods(mesh: &Mesh) -> Result<()> {
    let servers = ["closed-server", "closed-near", "open-server", "open-near"];
    let _servers = servers
        .map(|pod| mesh.pod(pod).serve(8080, backends::echo()))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut streams = Vec::new();
    for server in servers {
        let mut stream = mesh.pod("closed-client").connect(mesh.service(server).at(80))?;
        stream.set_read_timeout(Some(wait::EVENTUALLY))?;
        ping(&mut stream)?;
        streams.push(stream);
    }
    for proxy in mesh.proxies() {
        proxy.take_over()?;
    }
    still_carried(mesh, &mut streams)?;

    for pod in ["closed-server", "closed-near"] {
        mesh.change_pod(pod, |pod| pod.policy("deny"))?;
    }
    let mut lasting = streams.split_off(2);
    for (pod, stream) in servers.into_iter().zip(streams) {
        reset(stream).with_context(|| format!("the connection to {pod}, which now denies everybody"))?;
    }
    still_carried(mesh, &mut lasting).context("connections to pods whose policy has not changed")?;

    let near = lasting.split_off(1);
    mesh.remove_pod("open-near")?;
    for stream in near {
        reset(stream).context("the connection to the deleted pod")?;
    }
    still_carried(mesh, &mut lasting).context("connections to other pods")?;
    request(mesh, "closed-client", mesh.service("open-server").at(80))?;
    drop(lasting);
    for proxy in mesh.proxies() {
        wait::until("the old processes end after their connections", || {
            proxy.draining().is_ok_and(|count| count == 0)
        })?;
    }
    mesh.until_enrolled()
}

/// Fails unless the old processes still carry these connections.
fn still_carried(mesh: &Mesh, streams: &mut [TcpStream]) -> Result<()> {
    streams.iter_mut().try_for_each(ping)?;
    for proxy in mesh.proxies() {
        ensure!(proxy.draining()? == 1, "{proxy}: the old process has ended");
    }
    Ok(())
}

fn reset(mut stream: TcpStream) -> Result<()> {
    let end = stream.read(&mut [0]).map_err(|error| error.kind());
    ensure!(end == Err(ErrorKind::ConnectionReset), "the client got {end:?}");
    ensure!(stream.write(b"more").is_err(), "the client can still write");
    Ok(())
}
