//! Does splicing go by what the kernel can do, and does everything work without it?

use anyhow::{Result, ensure};
use weft_tests::{backends, mesh::Mesh, suite::Area};

use super::{MESSAGE, ROUNDS, counted, echoes, mostly_spliced, opted_in};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "spliced_or_relayed",
        "Where the kernel does what splicing needs, bytes are spliced; elsewhere the proxy says what the kernel does \
         not do, and relays them.",
        spliced_or_relayed,
    )
    .alone(
        "refused_with_a_reason",
        "Where the kernel's sockets cannot be read, nothing is spliced, the proxy says why, and all works.",
        || opted_in().proxy_arg("--btf=/nonexistent/vmlinux"),
        refused_with_a_reason,
    )
}

/// For kernels other than this machine's (`cargo xtask test --kernels`), where either may be right. Which one it was
/// is on a line that the table of kernels is made from.
fn spliced_or_relayed(mesh: &Mesh) -> Result<()> {
    let echo = mesh.pod("near").serve(mesh.unused_port(), backends::echo())?;
    let proxy = mesh.proxy("a").watch()?;
    let stream = mesh.pod("client").connect(mesh.service("near").at(echo.port()))?;
    echoes(&stream, MESSAGE, ROUNDS)?;
    let bytes = (MESSAGE * ROUNDS) as f64;
    let state = &mesh.proxy("a").config()?["splice"];
    if state["available"] == true {
        mostly_spliced(&proxy, 2.0 * bytes)?;
        println!("splicing: works");
    } else {
        let reason = state["reason"].as_str().unwrap_or_default();
        ensure!(!reason.is_empty(), "no reason: {state}");
        proxy.expect("weft_splice_connections_total", &[], 0.0)?;
        proxy.expect("weft_capture_total", &[("hook", "sockops"), ("outcome", "splice_joined")], 0.0)?;
        println!("splicing: relayed, {reason}");
    }
    counted(&proxy, "client", "near", bytes)?;
    drop(stream);
    echo.no_failures()
}

fn refused_with_a_reason(mesh: &Mesh) -> Result<()> {
    for server in ["near", "far"] {
        let pod = mesh.pod(server);
        let echo = pod.serve(mesh.unused_port(), backends::echo())?;
        let stream = mesh.pod("client").connect(mesh.service(server).at(echo.port()))?;
        echoes(&stream, MESSAGE, ROUNDS)?;
        drop(stream);
        echo.no_failures()?;
    }
    let proxy = mesh.proxy("a");
    let metrics = proxy.metrics()?;
    metrics.expect("weft_splice_available", &[], 0.0)?;
    metrics.expect("weft_splice_connections_total", &[], 0.0)?;
    metrics.expect("weft_capture_total", &[("hook", "sockops"), ("outcome", "splice_joined")], 0.0)?;
    let reason = proxy.config()?["splice"]["reason"].to_string();
    ensure!(reason.contains("/nonexistent/vmlinux"), "/config: {reason}");
    proxy.log().expect_line(&["not spliced", "/nonexistent/vmlinux"])?;
    Ok(())
}
