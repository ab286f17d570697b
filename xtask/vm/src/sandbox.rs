//! Makes a pod's own hostname and /etc/hosts.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::sethostname;

use crate::error::{Error, Result};
use crate::layout::BASE;
use crate::netns::{on_own_thread, pin, unpin};

/// Creates a mount namespace where /etc/hosts is `hosts`, and a UTS namespace with `hostname`, kept at `mnt` and `uts`.
pub(crate) fn create(mnt: &Path, uts: &Path, hostname: &str, hosts: &Path) -> Result<()> {
    for path in [mnt, uts] {
        File::create(path).map_err(Error::io("create", path))?;
    }
    on_own_thread(|| {
        let open = |path: &str| File::open(path).map_err(Error::io("open", path));
        let home = open("/proc/thread-self/ns/mnt")?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
            .map_err(Error::system("unshare(CLONE_NEWNS | CLONE_NEWUTS)"))?;
        sethostname(hostname).map_err(Error::system("sethostname"))?;
        // Mounts of the host appear and disappear here too; mounts made here stay here.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
            .map_err(Error::system("mount --make-rslave /"))?;
        mount(Some(hosts), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(Error::system("mount --bind over /etc/hosts"))?;
        unmount_clusters()?;
        let inside = open("/proc/thread-self/ns/mnt")?;
        // A mount namespace can only be pinned from outside.
        setns(home.as_fd(), CloneFlags::CLONE_NEWNS).map_err(Error::system("setns(mount namespace)"))?;
        pin(&format!("/proc/thread-self/fd/{}", inside.as_raw_fd()), mnt)?;
        pin("/proc/thread-self/ns/uts", uts)
    })
}

/// Deletes what [`create`] made.
pub(crate) fn delete(mnt: &Path, uts: &Path) -> Result<()> {
    unpin(mnt)?;
    unpin(uts)
}

/// The mount points at or below `path`, parents first.
pub(crate) fn mounts_below(path: &Path) -> Result<Vec<PathBuf>> {
    // Not /proc/self: the main thread may be in another mount namespace.
    let file = "/proc/thread-self/mountinfo";
    let text = fs::read_to_string(file).map_err(Error::io("read", file))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|mounted| mounted.starts_with(path))
        .collect())
}

/// Unmounts every cluster's namespaces and bpffs: a copy of such a mount would keep them alive as long as this pod
/// lives.
fn unmount_clusters() -> Result<()> {
    for mounted in mounts_below(Path::new(BASE))?.into_iter().rev() {
        umount2(&mounted, MntFlags::MNT_DETACH)
            .map_err(Error::system(format!("umount {}", mounted.display())))?;
    }
    Ok(())
}

/// mountinfo writes blanks and backslashes as octal escapes.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte.into());
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape("/plain"), Path::new("/plain"));
    }
}
