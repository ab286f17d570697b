//! Starts redis.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program};
use crate::mesh::Pod;

/// redis on `port` of both families, in memory only.
pub fn redis(pod: &Pod, port: u16) -> Result<Program> {
    let home = Home::new(None)?;
    let mut command = pod.command("redis-server")?;
    let port_text = port.to_string();
    command.args(["--port", &port_text, "--save", "", "--appendonly", "no", "--protected-mode", "no"]);
    command.args(["--bind", "*", "-::*"]).arg("--dir").arg(home.root());
    Program::start("redis", pod, port, command, home, Signal::SIGTERM)
}
