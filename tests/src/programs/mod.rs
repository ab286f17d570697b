//! Real servers and clients, run inside a pod: from Debian's packages, and in other [`languages`].
//!
//! Each server has its data in a temporary directory; the host's configuration is not read.

mod apache;
mod cache;
mod haproxy;
pub mod languages;
mod mariadb;
mod nginx;
mod openssh;
mod postgres;
mod redis;

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, chown},
};
use tempfile::TempDir;

pub use self::{
    apache::{apache, apache_before},
    haproxy::{haproxy, haproxy_before},
    mariadb::mariadb,
    nginx::{nginx, nginx_before, nginx_http2},
    openssh::openssh,
    postgres::postgres,
    redis::redis,
};
use crate::{mesh::Pod, wait};

/// A running server. It is stopped, and its data deleted, when this is dropped.
pub struct Program {
    name: &'static str,
    child: Child,
    /// The signal that makes it shut down.
    stop_signal: Signal,
    home: Home,
}

/// The directory of a program's configuration, data and log.
pub struct Home {
    directory: TempDir,
}

impl Program {
    /// Starts `command`, whose output goes to a log in `home`, and waits until `port` of `pod` is listened on.
    fn start(
        name: &'static str,
        pod: &Pod,
        port: u16,
        mut command: Command,
        home: Home,
        stop_signal: Signal,
    ) -> Result<Self> {
        let log = File::create(home.path("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("{name}: is its Debian package installed?"))?;
        let mut program = Self { name, child, stop_signal, home };
        let listens = wait::until_ok(&format!("{name} listens on {port}"), || {
            if let Some(status) = program.child.try_wait()? {
                return Ok(Err(status));
            }
            pod.listens_on(port)?;
            Ok(Ok(()))
        });
        match listens {
            Ok(Ok(())) => Ok(program),
            Ok(Err(status)) => bail!("{name} ended, {status}; its output:\n{}", program.output()),
            Err(e) => bail!("{e:#}; output of {name}:\n{}", program.output()),
        }
    }

    pub fn output(&self) -> String {
        fs::read_to_string(self.home.path("log")).unwrap_or_default()
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let leader = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(leader, self.stop_signal);
        let ended = wait::until("its end", || self.child.try_wait().is_ok_and(|status| status.is_some()));
        if let Err(e) = ended {
            eprintln!("{} does not stop ({e}); killed", self.name);
            let _ = kill(Pid::from_raw(-leader.as_raw()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

// === impl Home ===

impl Home {
    /// A new directory, owned by `user` for servers that do not run as root.
    fn new(user: Option<&str>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("weft-scenario-").tempdir()?;
        if let Some(user) = user {
            let user = User::from_name(user)?
                .with_context(|| format!("no user {user}: is its package installed?"))?;
            chown(directory.path(), Some(user.uid), Some(user.gid))?;
        }
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Runs a command that prepares a server.
fn prepare(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program:?}: is its package installed?"))?;
    ensure!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
