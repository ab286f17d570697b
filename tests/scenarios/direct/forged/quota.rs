//! A client that keeps many direct connections half open.

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use weft_tests::{backends, load::Plan, mesh::Mesh, texts::outcome};

use super::{
    super::{counted, establish_direct_path, hook},
    PORT,
    delayed::{drop_answers, stop_dropping},
};

/// Half-open direct connections that a workload may have.
const QUOTA: usize = 1024;
const EXCESS: usize = 10;

pub(super) fn half_open_quota(mesh: &Mesh) -> Result<()> {
    let (client, pod) = (mesh.pod("client"), mesh.pod("near"));
    let _server = pod.serve(PORT, backends::exchange())?;
    establish_direct_path(mesh, "client", pod.at(PORT))?;
    establish_direct_path(mesh, "other", pod.at(PORT))?;
    drop_answers(&client, &pod)?;
    let proxy = mesh.proxy("a").watch()?;
    let half_open = client.netns().run(|| -> Result<Vec<Socket>> {
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&pod.at(PORT).into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.into()),
                _ => Ok(socket),
            }
        };
        (0..QUOTA + EXCESS).map(connect).collect()
    })??;
    proxy.expect("weft_capture_total", &hook("connect", "direct"), QUOTA as f64)?;
    proxy.expect("weft_capture_total", &hook("connect", outcome::DIRECT_QUOTA), EXCESS as f64)?;
    mesh.proxy("a").log().expect_line(&[outcome::DIRECT_QUOTA])?;

    Plan::random(1000).run(&client.connect(pod.at(PORT))?).context("through the proxy")?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&mesh.pod("other").connect(pod.at(PORT))?).context("another pod")?;
    counted(&proxy, 1.0, 0.0)?;

    drop(half_open);
    stop_dropping(&client)?;
    let proxy = mesh.proxy("a").watch()?;
    Plan::random(1000).run(&client.connect(pod.at(PORT))?).context("directly again")?;
    counted(&proxy, 1.0, 0.0)
}
