//! gRPC's own interoperability tests, from grpc-go.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::Results;
use crate::{mesh::Pod, programs::languages::Go};

/// The cases that need neither TLS, credentials nor several servers. Without pick_first_unary: the suite's own server does
/// not give the name that it looks for.
const CASES: [&str; 18] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "orca_oob",
    "rpc_soak",
    "channel_soak",
];

/// Of the soak cases: many calls on one connection, and on a new one each.
const SOAK: [&str; 3] = [
    "--soak_iterations=50",
    "--soak_per_iteration_max_acceptable_latency_ms=5000",
    "--soak_overall_timeout_seconds=25",
];

/// The balancer of grpc-go whose results the ORCA cases look at.
const ORCA: &str = r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#;

/// Runs the cases from `client` against the suite's server at `address`.
pub fn interop(go: &Go, client: &Pod, address: SocketAddr) -> Result<Results> {
    let mut results = Results::default();
    for case in CASES {
        // Some cases have no limit of their own.
        let mut command = client.command("timeout")?;
        command.arg("30").arg(go.program("client")).arg(format!("--test_case={case}"));
        command
            .arg(format!("--server_host={}", address.ip()))
            .arg(format!("--server_port={}", address.port()));
        if case.starts_with("orca") {
            command.arg(format!("--service_config_json={ORCA}"));
        }
        if case.ends_with("soak") {
            command.args(SOAK);
        }
        let output = command.output().context("the interop client")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcome = if output.status.success() { Ok(()) } else { Err(said) };
        results.0.insert(case.to_owned(), outcome);
    }
    Ok(results)
}
