//! Starts MariaDB.

use std::process::Command;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program, prepare};
use crate::{mesh::Pod, wait};

/// MariaDB on `port` of both families; the user `mesh` with the password `mesh` has all rights from everywhere.
pub fn mariadb(pod: &Pod, port: u16) -> Result<Program> {
    let home = Home::new(Some("mysql"))?;
    let data = home.path("data");
    let mut install = Command::new("mariadb-install-db");
    install.args([
        "--no-defaults",
        "--user=mysql",
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
    ]);
    prepare(install.arg(format!("--datadir={}", data.display())))?;
    let grants = home.write(
        "init.sql",
        // The server reads one statement per line.
        "CREATE USER mesh@'%' IDENTIFIED BY 'mesh';\nGRANT ALL ON *.* TO mesh@'%';\nCREATE DATABASE mesh;\n",
    )?;

    let mut command = pod.command("mariadbd")?;
    command.args([
        "--no-defaults",
        "--user=mysql",
        "--bind-address=*",
        "--skip-name-resolve",
        "--skip-log-bin",
    ]);
    command.arg(format!("--port={port}")).arg(format!("--datadir={}", data.display()));
    command.arg(format!("--socket={}", home.path("socket").display()));
    command.arg(format!("--pid-file={}", home.path("pid").display()));
    command.arg(format!("--init-file={}", grants.display())).arg("--innodb-flush-method=nosync");
    let program = Program::start("mariadb", pod, port, command, home, Signal::SIGTERM)?;
    // It listens before it has read the grants.
    let port = format!("--port={port}");
    let login =
        ["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", &port, "-umesh", "-pmesh", "-e", "select 1"];
    wait::until_ok("the user mesh can log in", || pod.run("mariadb", &login))?;
    Ok(program)
}
