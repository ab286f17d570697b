//! Groups processes in cgroups, so that all of them can be ended at once.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// How long the kernel may take to end killed processes.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The root of the cgroup v2 hierarchy: the usual mount point, or that of a hybrid set-up.
pub fn root() -> Result<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC))
        .ok_or(Error::NoCgroup2)
}

/// A cgroup v2 directory.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The cgroup does not have to exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn child(&self, name: &str) -> Self {
        Self { path: self.path.join(name) }
    }

    /// Creates the cgroup and its parents.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(Error::io("create cgroup", &path))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens cgroup.procs. Whoever writes "0" to it moves into the cgroup; a child can do so after it has left this mount
    /// namespace.
    pub(crate) fn open_procs(&self) -> Result<fs::File> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new().write(true).open(&path).map_err(Error::io("open", path))
    }

    /// The processes in it, not those of its children.
    pub fn pids(&self) -> Vec<Pid> {
        fs::read_to_string(self.path.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            // 0: a process of another PID namespace.
            .filter(|pid| *pid > 0)
            .map(Pid::from_raw)
            .collect()
    }

    /// Sends a signal to each process in it, not to those of its children.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // Fails only for a process that has ended, which is what the caller wants.
            let _ = kill(pid, signal);
        }
    }

    /// Whether a process is in it or below.
    pub fn populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Waits until no process is left. False: some are left after `timeout`.
    pub fn wait_empty(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.populated() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Kills every process in it and below.
    pub fn kill(&self) {
        // cgroup.kill came with Linux 5.14.
        if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
            self.each(&|cgroup| cgroup.signal(Signal::SIGKILL));
        }
    }

    /// Kills every process in it and below, and removes it, if it exists.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        while self.path.exists() {
            self.kill();
            self.wait_empty(Duration::from_millis(500));
            match remove_tree(&self.path) {
                Ok(()) => return Ok(()),
                // EBUSY: a process has just been forked, or a dead one is not reaped yet.
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(Error::io("remove cgroup", &self.path)(error)),
            }
        }
        Ok(())
    }

    fn each(&self, action: &dyn Fn(&Cgroup)) {
        action(self);
        for child in children(&self.path) {
            Cgroup::at(child).each(action);
        }
    }
}

fn remove_tree(path: &Path) -> std::io::Result<()> {
    for child in children(path) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
