//! How does a scenario act inside a pod's network namespace?
//!
//! A socket belongs to the namespace of the thread that made it, for ever. So only the making happens inside, on a
//! thread that is born for it and ends: no thread of the test process stays in a namespace by mistake.

use std::{
    fs::File,
    io, panic,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A network namespace that has a path.
#[derive(Clone, Debug)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    /// The namespace that is mounted at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `action` inside, on a thread of its own.
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
