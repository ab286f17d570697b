//! Makes a node's root directory from the host's programs and the node's own data.
//!
//! /usr and /etc are the host's, read-only. /var, /run, /tmp, /proc, /sys, the cgroups and the BPF file system are the
//! node's own, so that the usual paths mean on each node what they mean on a machine. The host's files are not visible.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, pivot_root},
};
use weft_vm::cgroup;

use crate::{
    cgroups,
    layout::{Layout, State},
    wait,
};

/// How long the keeper may take to leave the node's root cgroup.
const KEEPER: Duration = Duration::from_secs(10);

/// Folders below /var that programs expect.
const VAR: [&str; 9] = [
    "lib/kubelet",
    "lib/containerd",
    "lib/cni",
    "log/pods",
    "log/containers",
    "log/node",
    "cache",
    "tmp",
    "lib/kubelet/volume-plugins",
];

/// Sysctls that kubelet and kube-proxy set and that belong to the whole machine: the node gets files instead.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Makes the folders on the host.
pub(super) fn prepare(layout: &Layout, node: &str) -> Result<()> {
    let var = layout.node_var(node);
    for folder in VAR {
        fs::create_dir_all(var.join(folder)).with_context(|| folder.to_owned())?;
    }
    symlink("/run", var.join("run")).context("var/run")?;
    fs::create_dir_all(layout.node_root(node))?;
    let sysctls = sysctls(layout, node);
    fs::create_dir_all(&sysctls)?;
    for (name, value) in SYSCTLS {
        fs::write(sysctls.join(name.replace('/', ".")), format!("{value}\n"))?;
    }
    Ok(())
}

fn sysctls(layout: &Layout, node: &str) -> PathBuf {
    layout.node_config(node).join("sysctl")
}

/// Mounts everything and makes it the root of this process, which has a mount, PID, network and cgroup namespace of its
/// own.
pub(super) fn enter(layout: &Layout, state: &State, node: &str) -> Result<()> {
    change("/", MsFlags::MS_PRIVATE)?;
    let root = layout.node_root(node);
    new("tmpfs", &root, "mode=755")?;
    host_programs(&root)?;
    bind("/dev".as_ref(), &root.join("dev"), false)?;
    new("proc", &root.join("proc"), "")?;
    new("sysfs", &root.join("sys"), "")?;
    control_groups(&root)?;
    new("bpf", &root.join("sys/fs/bpf"), "mode=700")?;
    for folder in ["run", "tmp"] {
        new("tmpfs", &root.join(folder), if folder == "tmp" { "mode=1777" } else { "mode=755" })?;
    }
    for folder in ["run/netns", "run/lock", "root", "home", "mnt", "opt", ".host"] {
        fs::create_dir_all(root.join(folder))?;
    }
    bind(&layout.node_var(node), &root.join("var"), false)?;
    bind(&state.programs.join("bin"), &root.join("kubernetes/bin"), true)?;
    bind(&layout.node_config(node), &root.join("kubernetes/config"), true)?;
    bind(&layout.node_pki(node), &root.join("kubernetes/pki"), true)?;
    for (name, _) in SYSCTLS {
        bind_file(&sysctls(layout, node).join(name.replace('/', ".")), &root.join("proc/sys").join(name))?;
    }
    pivot_root(&root, &root.join(".host")).context("pivot_root")?;
    chdir("/").context("chdir")?;
    umount2("/.host", MntFlags::MNT_DETACH).context("umount of the host's root")?;
    fs::remove_dir("/.host")?;
    // Mounts that pods make with mountPropagation: Bidirectional reach the node and other pods.
    change("/", MsFlags::MS_SHARED)
}

/// /usr and /etc, and what older systems have beside /usr.
fn host_programs(root: &Path) -> Result<()> {
    for name in ["usr", "etc", "bin", "sbin", "lib", "lib32", "lib64"] {
        let (from, to) = (Path::new("/").join(name), root.join(name));
        if from.is_symlink() {
            symlink(fs::read_link(&from)?, to)?;
        } else if from.is_dir() {
            bind(&from, &to, true)?;
        }
    }
    Ok(())
}

/// Mounts all hierarchies anew: seen from the node's cgroup namespace, they begin at its cgroups.
fn control_groups(root: &Path) -> Result<()> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let unified = cgroup::root()?;
    let base = root.join("sys/fs/cgroup");
    if unified == Path::new("/sys/fs/cgroup") {
        return new("cgroup2", &base, "");
    }
    new("tmpfs", &base, "mode=755")?;
    for (path, controllers) in cgroups::v1() {
        new("cgroup", &below(&path), &controllers)?;
    }
    new("cgroup2", &below(&unified), "")
}

/// Where v2 has controllers, a cgroup with processes cannot pass them on: this process moves to a cgroup beside the
/// pods', and the keeper leaves too.
pub(super) fn leave_the_root_cgroup() -> Result<()> {
    let root = cgroup::root()?;
    if root != Path::new("/sys/fs/cgroup") {
        return Ok(());
    }
    let own = root.join("node");
    fs::create_dir_all(&own)?;
    fs::write(own.join("cgroup.procs"), "0").context("cgroup.procs")?;
    wait::until("controllers for the pods' cgroups", KEEPER, || cgroups::delegate(&root))
}

fn change(path: &str, propagation: MsFlags) -> Result<()> {
    mount(None::<&str>, path, None::<&str>, propagation | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("mount propagation of {path}"))
}

fn new(kind: &str, at: &Path, options: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| at.display().to_string())?;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("mount -t {kind} -o {options} {}", at.display()))
}

fn bind(from: &Path, to: &Path, read_only: bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    bind_file(from, to)?;
    if !read_only {
        return Ok(());
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mount -o remount,ro {}", to.display()))
}

fn bind_file(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("mount --rbind {} {}", from.display(), to.display()))
}
