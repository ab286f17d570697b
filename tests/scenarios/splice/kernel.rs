//! Splicing depends on what the kernel can do; without it, connections are relayed.

use anyhow::{Result, ensure};
use weft_tests::{backends, mesh::Mesh, suite::Area, texts::log};

use super::{MESSAGE, ROUNDS, counted, echoes, mostly_spliced, opted_in};

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "spliced_or_relayed",
        "On kernels that support splicing bytes are spliced; on others the proxy reports what is missing and relays \
         them.",
        spliced_or_relayed,
    )
    .alone(
        "refused_with_a_reason",
        "Without the kernel's type information nothing is spliced, the proxy reports the reason, and all connections \
         work.",
        || opted_in().proxy_arg("--btf=/nonexistent/vmlinux"),
        refused_with_a_reason,
    )
}

/// For `cargo xtask test --kernels`, where either may be right. The table of kernels is made from the line that is
/// printed.
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
    proxy.log().expect_line(&[log::NOT_SPLICED, "/nonexistent/vmlinux"])?;
    Ok(())
}
