//! Starts weft-control and weft-proxy, and watches and ends them.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;
use crate::enter::Entry;
use crate::error::{Error, Result};
use crate::http;

const TAIL_LINES: usize = 25;

/// One of the mesh's own processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Daemon {
    /// weft-control
    Control,
    /// The weft-proxy of a node.
    Proxy(String),
}

impl std::fmt::Display for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Daemon::Control => f.write_str("control"),
            Daemon::Proxy(node) => write!(f, "proxy-{node}"),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Ready {
    Yes,
    NotYet(Error),
    Never(Error),
}

/// How a daemon is started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) what: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) log: PathBuf,
    pub(crate) cgroup: Cgroup,
    /// The file where it writes the address of its admin server.
    pub(crate) admin_address: PathBuf,
}

/// A daemon's processes: one, or two while the newer takes over from the older.
#[derive(Debug)]
pub(crate) struct Processes {
    plan: Plan,
    /// The inode of the predecessor's address file, until the current process has written its own.
    stale: Option<u64>,
    current: Child,
    older: Vec<Child>,
}

impl Processes {
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        let stale = inode(&plan.admin_address);
        let current = launch(&plan)?;
        Ok(Self { plan, stale, current, older: Vec::new() })
    }

    /// Starts a successor beside the current process.
    pub(crate) fn start_successor(&mut self, plan: Plan) -> Result<()> {
        self.plan = plan;
        self.stale = inode(&self.plan.admin_address);
        let successor = launch(&self.plan)?;
        self.older.push(std::mem::replace(&mut self.current, successor));
        self.older.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.current.id()
    }

    /// How the current process ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.older.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        self.current.try_wait().ok().flatten()
    }

    /// How many predecessors still drain.
    pub(crate) fn draining(&mut self) -> usize {
        self.older.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        self.older.len()
    }

    /// Sends a signal to the current process, if it still runs.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        // Not reaped yet, so the number is still its own. Positive: process numbers are small.
        let pid = Pid::from_raw(self.current.id().cast_signed());
        kill(pid, signal).map_err(Error::system(format!("kill({signal}, {})", self.plan.what)))
    }

    /// Kills and reaps all processes.
    pub(crate) fn end(&mut self) {
        self.plan.cgroup.kill();
        for child in self.older.iter_mut().chain([&mut self.current]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.older.clear();
    }

    /// The address of its admin server. Until a successor has taken over, that is the predecessor's.
    pub(crate) fn admin(&self) -> Result<SocketAddr> {
        let path = &self.plan.admin_address;
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        text.trim()
            .parse()
            .map_err(|_| self.not_ready(&format!("{} does not contain an address: {text:?}", path.display())))
    }

    /// Asks the current process whether it is ready.
    pub(crate) fn check_ready(&mut self) -> Ready {
        if let Some(status) = self.ended() {
            return Ready::Never(self.not_ready(&format!("it ended: {status}")));
        }
        let written = inode(&self.plan.admin_address);
        if written.is_none() || written == self.stale {
            return Ready::NotYet(self.not_ready("it has not written the address of its admin server"));
        }
        match self.admin().and_then(|admin| http::get(admin, "/ready")) {
            Ok(response) if response.status == 200 => Ready::Yes,
            Ok(response) => {
                let reason = format!("/ready returned {} {}", response.status, response.body.trim());
                Ready::NotYet(self.not_ready(&reason))
            }
            Err(error) => Ready::NotYet(self.not_ready(&error.to_string())),
        }
    }

    fn not_ready(&self, reason: &str) -> Error {
        Error::NotReady {
            what: self.plan.what.clone(),
            reason: reason.to_owned(),
            log: self.plan.log.clone(),
            tail: tail(&self.plan.log),
        }
    }
}

fn launch(plan: &Plan) -> Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&plan.log)
        .map_err(Error::io("open the log", &plan.log))?;
    let clone = log.try_clone().map_err(Error::io("open the log", &plan.log))?;
    let mut command = Command::new(&plan.program);
    command
        .args(&plan.args)
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(clone)
        .process_group(0);
    Entry { cgroup: Some(plan.cgroup.open_procs()?), ..Entry::default() }.apply(&mut command);
    command.spawn().map_err(Error::io("start", &plan.program))
}

/// Tells files apart: each daemon replaces the address file by a new one.
fn inode(path: &Path) -> Option<u64> {
    Some(fs::metadata(path).ok()?.ino())
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 << 10)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("({error})"));
    let mut lines = VecDeque::with_capacity(TAIL_LINES);
    for line in text.lines() {
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(format!("    {line}"));
    }
    if lines.is_empty() { "    (empty)".to_owned() } else { Vec::from(lines).join("\n") }
}
