//! Runs a container's process in its pod, and starts it again when it ends.

use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::cgroup::Cgroup;
use crate::enter::Entry;
use crate::error::{Error, Result};

/// The first pause before a restart; it doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(20);
/// A process that ran for so long is restarted with the first pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// When a container is started again, as `restartPolicy` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever it ends.
    Always,
    /// When it ends with a failure.
    OnFailure,
    /// Never.
    Never,
}

/// The namespaces and the cgroup that make a process part of a pod.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its mount and its UTS namespace.
    pub sandbox: Option<(PathBuf, PathBuf)>,
    /// Its cgroup.
    pub cgroup: Cgroup,
    /// A directory to look for programs first.
    pub binaries: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Variables on top of this process's own.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub directory: Option<String>,
    /// User and group to become.
    pub user: Option<(u32, u32)>,
}

impl Place {
    /// A command that will run in the pod; the caller may set everything else about it.
    pub fn command(&self, program: impl Into<OsString>) -> Result<Command> {
        self.prepare(program.into(), None, None)
    }

    fn prepare(&self, program: OsString, dir: Option<&str>, user: Option<(u32, u32)>) -> Result<Command> {
        let mut command = Command::new(program);
        command.env("PATH", self.path());
        self.entry(dir, user)?.apply(&mut command);
        Ok(command)
    }

    fn entry(&self, directory: Option<&str>, user: Option<(u32, u32)>) -> Result<Entry> {
        let open = |path: &Path| File::open(path).map_err(Error::io("open the namespace", path));
        let (mnt, uts) = match &self.sandbox {
            Some((mnt, uts)) => (Some(open(mnt)?), Some(open(uts)?)),
            None => (None, None),
        };
        let directory = match directory {
            Some(directory) => Some(directory.to_owned()),
            // Entering a mount namespace changes the working directory to its root.
            None => std::env::current_dir().ok().and_then(|dir| dir.into_os_string().into_string().ok()),
        };
        Ok(Entry {
            cgroup: Some(self.cgroup.open_procs()?),
            net: Some(open(&self.netns)?),
            mnt,
            uts,
            user,
            directory: directory.and_then(|dir| CString::new(dir).ok()),
        })
    }

    fn path(&self) -> OsString {
        let mut path = self.binaries.clone().into_os_string();
        path.push(":");
        path.push(
            std::env::var_os("PATH")
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        );
        path
    }
}

/// A container that is kept running.
#[derive(Debug)]
pub struct Supervised {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Set when it ended and is not restarted: whether it succeeded.
    ended: Option<bool>,
    restarts: u32,
}

impl Supervised {
    /// Starts the container, and restarts it as the policy says. Its output is appended to `log`.
    pub fn start(place: Place, container: Container, policy: RestartPolicy, log: &Path) -> Result<Self> {
        let log =
            OpenOptions::new().create(true).append(true).open(log).map_err(Error::io("open the log", log))?;
        let shared = Arc::new(Shared::default());
        let run = Run { place, container, policy, log, shared: shared.clone() };
        let thread = std::thread::Builder::new()
            .name("container".into())
            .spawn(move || run.until_stopped())
            .map_err(Error::io("start a thread for", "a container"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Stops restarting. The caller then ends the processes by their cgroup, and calls [`Supervised::join`].
    pub fn forbid_restarts(&self) {
        self.shared.state.lock().stopped = true;
        self.shared.changed.notify_all();
    }

    /// Waits for the supervising thread, after [`Supervised::forbid_restarts`] and the end of the processes.
    pub fn join(mut self) {
        self.forbid_restarts();
        if let Some(thread) = self.thread.take() {
            // The thread has printed its panic itself.
            let _ = thread.join();
        }
    }

    /// None: it runs, or will be restarted. Otherwise whether it succeeded.
    pub fn ended(&self) -> Option<bool> {
        self.shared.state.lock().ended
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u32 {
        self.shared.state.lock().restarts
    }
}

struct Run {
    place: Place,
    container: Container,
    policy: RestartPolicy,
    log: File,
    shared: Arc<Shared>,
}

impl Run {
    fn until_stopped(mut self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let started = Instant::now();
            let success = match self.spawn() {
                None => return,
                Some(Ok(mut child)) => match child.wait() {
                    Ok(status) => self.note_end(status),
                    Err(error) => self.note_failure(&format!("cannot wait for it: {error}")),
                },
                Some(Err(reason)) => self.note_failure(&reason),
            };
            let again = match self.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => !success,
                RestartPolicy::Never => false,
            };
            let mut state = self.shared.state.lock();
            if !again {
                state.ended = Some(success);
                return;
            }
            if started.elapsed() > HEALTHY_AFTER {
                backoff = FIRST_BACKOFF;
            }
            let deadline = Instant::now() + backoff;
            while !state.stopped {
                if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                    break;
                }
            }
            state.restarts += 1;
            drop(state);
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// None: it must not be started any more. The lock is held during the fork: whoever forbids restarts and then kills
    /// the cgroup misses no process.
    fn spawn(&self) -> Option<Result<Child, String>> {
        let state = self.shared.state.lock();
        if state.stopped {
            return None;
        }
        let child = self.command().and_then(|mut command| {
            command.spawn().map_err(|error| format!("cannot start `{}`: {error}", self.container.command[0]))
        });
        drop(state);
        Some(child)
    }

    fn command(&self) -> Result<Command, String> {
        let container = &self.container;
        let directory = container.directory.as_deref().unwrap_or("/");
        let mut command = self
            .place
            .prepare(container.command[0].clone().into(), Some(directory), container.user)
            .map_err(|error| error.to_string())?;
        let log = || self.log.try_clone().map_err(|error| format!("cannot open its log: {error}"));
        command
            .args(&container.command[1..])
            .envs(container.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .process_group(0);
        Ok(command)
    }

    fn note_end(&mut self, status: ExitStatus) -> bool {
        if !self.shared.state.lock().stopped {
            self.note(&format!("ended: {status}"));
        }
        status.success()
    }

    fn note_failure(&mut self, reason: &str) -> bool {
        self.note(reason);
        false
    }

    fn note(&mut self, text: &str) {
        // A full disk must not end the supervision.
        let _ = writeln!(self.log, "weft-vm: container {}: {text}", self.container.name);
    }
}
