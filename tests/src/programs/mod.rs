//! How do real servers from Debian's packages run inside a pod?
//!
//! Each has its data in a directory of its own that goes with it, and no configuration of the host's is read.

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

pub use self::{mariadb::mariadb, nginx::nginx, openssh::openssh, postgres::postgres, redis::redis};
use crate::{mesh::Pod, wait};

/// A running server program. Dropped: it is ended and its data deleted.
pub struct Program {
    name: &'static str,
    child: Child,
    /// The signal that ends it at once, but in order.
    farewell: Signal,
    home: Home,
}

/// A directory for one program's configuration, data and log.
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
        farewell: Signal,
    ) -> Result<Self> {
        let log = File::create(home.path("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("{name}: is its Debian package installed?"))?;
        let mut program = Self { name, child, farewell, home };
        let listens = wait::until_ok(&format!("{name} listens on {port}"), || {
            if let Some(status) = program.child.try_wait()? {
                return Ok(Err(status));
            }
            pod.listens_on(port)?;
            Ok(Ok(()))
        });
        match listens {
            Ok(Ok(())) => Ok(program),
            Ok(Err(status)) => bail!("{name} ended, {status}; it said:\n{}", program.said()),
            Err(e) => bail!("{e:#}; {name} said:\n{}", program.said()),
        }
    }

    /// What it wrote to its output.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path("log")).unwrap_or_default()
    }

    /// A file of its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let leader = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(leader, self.farewell);
        let ended = wait::until("its end", || self.child.try_wait().is_ok_and(|status| status.is_some()));
        if let Err(e) = ended {
            eprintln!("{} does not end ({e}); killed", self.name);
            let _ = kill(Pid::from_raw(-leader.as_raw()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

// === impl Home ===

impl Home {
    /// A new directory, owned by `user`: servers that refuse to be root have one of their own.
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

/// Runs a step of a server's installation to its end.
fn prepare(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program:?}: is its package there?"))?;
    ensure!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
