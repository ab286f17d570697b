//! Starts OpenSSH's server.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program, prepare};
use crate::mesh::Pod;

/// sshd on `port` of both families; root may log in with the key in the file `user_key` of its directory.
pub fn openssh(pod: &Pod, port: u16) -> Result<Program> {
    let home = Home::new(None)?;
    for key in ["host_key", "user_key"] {
        let mut generate = Command::new("ssh-keygen");
        prepare(generate.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.path(key)))?;
    }
    fs::copy(home.path("user_key.pub"), home.path("authorized_keys"))?;
    // sshd does not start without its chroot directory.
    fs::create_dir_all("/run/sshd")?;
    fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755))?;
    let root = home.root().display();
    let configuration = home.write(
        "sshd_config",
        &format!(
            "Port {port}\nHostKey {root}/host_key\nPidFile none\nUsePAM no\nPasswordAuthentication no
PermitRootLogin prohibit-password\nAuthorizedKeysFile {root}/authorized_keys\nStrictModes no
PrintMotd no\nMaxStartups 100\n"
        ),
    )?;
    let mut command = pod.command("/usr/sbin/sshd")?;
    command.args(["-D", "-e", "-f"]).arg(configuration);
    Program::start("sshd", pod, port, command, home, Signal::SIGTERM)
}
