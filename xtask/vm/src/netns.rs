//! Creates, enters and deletes network namespaces.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, Result};

/// Makes a network namespace and keeps it by a bind mount at `path`, as `ip netns` does.
pub fn create(path: &Path) -> Result<()> {
    File::create(path).map_err(Error::io("create", path))?;
    on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(Error::system("unshare(CLONE_NEWNET)"))?;
        pin("/proc/thread-self/ns/net", path)
    })
}

/// Deletes the namespace's name. The kernel frees the namespace with its last process and socket.
pub fn delete(path: &Path) -> Result<()> {
    unpin(path)
}

/// Gives the namespace another name. For a moment there is a file at `to` that is no namespace yet: mount points
/// cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    File::create(to).map_err(Error::io("create", to))?;
    pin(&from.display().to_string(), to)?;
    unpin(from)
}

/// Runs `work` inside the namespace, on a new thread: no other thread of this process changes its namespace. Children
/// that `work` starts are in the namespace too.
pub fn run<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace = File::open(path).map_err(Error::io("open the network namespace", path))?;
    on_own_thread(|| {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(Error::system(format!("setns({})", path.display())))?;
        Ok(work())
    })
}

/// Sets a sysctl of the namespace that the calling thread is in; `name` as in /proc/sys, e.g. `net/ipv4/ip_forward`.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    std::fs::write(&path, value).map_err(Error::io("write", &path))
}

/// Keeps the namespace `source` alive at the file `path`.
pub(crate) fn pin(source: &str, path: &Path) -> Result<()> {
    mount(Some(source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(Error::system(format!("mount --bind {source} {}", path.display())))
}

/// Undoes [`pin`] and removes the file, if it exists.
pub(crate) fn unpin(path: &Path) -> Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // EINVAL: not a mount point, a start that failed half-way.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(Error::system(format!("umount {}", path.display()))(errno)),
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Runs `work` on a new thread and waits for it. A panic in it is raised again here.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
