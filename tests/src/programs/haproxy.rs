//! Starts HAProxy.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program, cache};
use crate::mesh::Pod;

/// HAProxy on `port` of both families, for HTTP/1.1 and HTTP/2; it answers with the client's address.
pub fn haproxy(pod: &Pod, port: u16) -> Result<Program> {
    start(pod, port, "    http-request return status 200 content-type text/plain lf-string \"%[src]\"\n")
}

/// HAProxy as a reverse proxy for `target`.
pub fn haproxy_before(pod: &Pod, port: u16, target: &str) -> Result<Program> {
    start(
        pod,
        port,
        &format!(
            "    default_backend target\nbackend target\n    http-reuse always\n    server target {target}\n"
        ),
    )
}

fn start(pod: &Pod, port: u16, settings: &str) -> Result<Program> {
    let haproxy = cache::need("haproxy", "haproxy")?;
    let home = Home::new(None)?;
    let configuration = home.write(
        "haproxy.cfg",
        &format!(
            "global
    maxconn 1000
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend front
    bind :::{port} v4v6
{settings}"
        ),
    )?;
    let mut command = pod.command(&haproxy.to_string_lossy())?;
    command.arg("-db").arg("-f").arg(configuration);
    Program::start("haproxy", pod, port, command, home, Signal::SIGTERM)
}
