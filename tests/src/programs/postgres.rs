//! Starts PostgreSQL.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Home, Program, prepare};
use crate::mesh::Pod;

/// PostgreSQL on `port` of both families; the superuser `postgres` needs no password.
pub fn postgres(pod: &Pod, port: u16) -> Result<Program> {
    let home = Home::new(Some("postgres"))?;
    let binaries = binaries()?;
    let data = home.path("data");
    let mut init = as_postgres(Command::new("setpriv"));
    init.arg(binaries.join("initdb")).args([
        "--auth=trust",
        "--no-sync",
        "--no-instructions",
        "-U",
        "postgres",
    ]);
    prepare(init.arg("-D").arg(&data))?;
    fs::write(data.join("pg_hba.conf"), "host all all all trust\n")?;

    let mut command = as_postgres(pod.command("setpriv")?);
    command.arg(binaries.join("postgres")).arg("-D").arg(&data).arg("-p").arg(port.to_string());
    // No Unix socket; durability is not tested.
    for setting in ["listen_addresses=*", "unix_socket_directories=", "fsync=off", "max_connections=50"] {
        command.args(["-c", setting]);
    }
    // SIGINT: disconnect the clients and shut down.
    Program::start("postgres", pod, port, command, home, Signal::SIGINT)
}

fn as_postgres(mut command: Command) -> Command {
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    command
}

/// Debian has a directory for the programs of each major version.
fn binaries() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("Debian package postgresql")?;
    let newest = versions.filter_map(Result::ok).map(|version| version.path().join("bin")).max();
    newest.context("/usr/lib/postgresql has no version")
}
