//! Runs code inside a pod's network namespace.
//!
//! A socket belongs to the namespace of the thread that created it. So a short-lived thread enters the namespace,
//! creates the socket and ends; no other thread of the test process ever changes its namespace.

use std::{
    fs::File,
    io, panic,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A network namespace that is mounted at a path.
#[derive(Clone, Debug)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `action` inside, on its own thread.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        let namespace = File::open(&self.path)
            .map_err(|e| io::Error::new(e.kind(), format!("netns {}: {e}", self.path.display())))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(action())
            });
            inside.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}
