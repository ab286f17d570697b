//! Moves a child process into a pod before its program runs.
//!
//! The only file of this crate with `unsafe`: the code that runs between fork and exec.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;

/// The namespaces and the cgroup that a process joins, opened before the fork.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// cgroup.procs of its cgroup.
    pub(crate) cgroup: Option<File>,
    /// Its network namespace.
    pub(crate) net: Option<File>,
    /// Its mount namespace.
    pub(crate) mnt: Option<File>,
    /// Its UTS namespace.
    pub(crate) uts: Option<File>,
    /// User and group, which are set last.
    pub(crate) user: Option<(u32, u32)>,
    /// The working directory, as seen inside. It stays at `/` where it does not exist.
    pub(crate) directory: Option<CString>,
}

impl Entry {
    /// Makes `command` join before it runs its program.
    pub(crate) fn apply(self, command: &mut Command) {
        // SAFETY: `join` makes only calls that are async-signal-safe (pthread_sigmask, write, setns, chdir, setgroups,
        // setgid, setuid), on values made before the fork; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || self.join()) };
    }

    fn join(&self) -> io::Result<()> {
        // `weft-vm run` blocks the ending signals in all of its threads; its children inherit that.
        SigSet::empty().thread_set_mask()?;
        if let Some(cgroup) = &self.cgroup {
            nix::unistd::write(cgroup, b"0")?;
        }
        for (namespace, kind) in [
            (&self.net, CloneFlags::CLONE_NEWNET),
            (&self.uts, CloneFlags::CLONE_NEWUTS),
            (&self.mnt, CloneFlags::CLONE_NEWNS),
        ] {
            if let Some(namespace) = namespace {
                setns(namespace.as_fd(), kind)?;
            }
        }
        if let Some(directory) = &self.directory {
            let _ = nix::unistd::chdir(directory.as_c_str());
        }
        if let Some((user, group)) = self.user {
            // Raw system calls: libc's functions would signal all other threads.
            raw(libc::SYS_setgroups, 0, 0)?;
            raw(libc::SYS_setgid, libc::c_long::from(group), 0)?;
            raw(libc::SYS_setuid, libc::c_long::from(user), 0)?;
        }
        Ok(())
    }
}

fn raw(call: libc::c_long, first: libc::c_long, second: libc::c_long) -> io::Result<()> {
    // SAFETY: called with setgroups(0, NULL), setgid and setuid only: integers, and a null pointer with length 0.
    match unsafe { libc::syscall(call, first, second) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
