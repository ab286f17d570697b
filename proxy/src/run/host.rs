//! What the process needs of its host: folders, descriptors, sockets.

use std::{
    collections::HashMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use anyhow::Context;
use tracing::warn;

use crate::{capture::Listeners, config::Config, tap};

/// The key of the admin socket among the listeners that are handed over: no namespace has this cookie.
pub(super) const ADMIN_KEY: u64 = 0;

/// Makes the state folder, for root only.
pub(super) fn prepare_state_dir(state_dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .and_then(|()| fs::set_permissions(state_dir, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("--state-dir {}", state_dir.display()))
}

/// Writes an address at which the proxy listens to a file of the state folder.
pub(super) fn write_address(state_dir: &Path, name: &str, address: SocketAddr) -> anyhow::Result<()> {
    let (file, new) = (state_dir.join(name), state_dir.join(format!("{name}.new")));
    fs::write(&new, address.to_string())
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("writing {}", file.display()))
}

/// Raises the limit of open files as far as the hard limit allows, and returns it. Each proxied connection takes two.
pub(super) fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "failed to raise the limit of open files");
    }
    // Cannot fail for a resource that exists; POSIX guarantees 20 at least.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(20, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// The predecessor's admin socket if it listens where this proxy should, else a new one.
pub(super) fn admin_socket(
    config: &Config,
    inherited: &mut HashMap<u64, Listeners>,
) -> anyhow::Result<TcpListener> {
    let inherited = inherited.remove(&ADMIN_KEY).and_then(|mut listeners| listeners.0.pop());
    if let Some(listener) = inherited {
        let socket = TcpListener::from(listener.socket);
        let address = socket.local_addr()?;
        if config.admin.port() != 0 && (address == config.admin || Some(address) == without_v6(config.admin))
        {
            return Ok(socket);
        }
    }
    let bound = TcpListener::bind(config.admin);
    let bound = match (bound, without_v6(config.admin)) {
        (Err(error), Some(v4)) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => TcpListener::bind(v4),
        (bound, _) => bound,
    };
    bound.with_context(|| format!("--admin {}", config.admin))
}

/// A listener for the tap service.
pub(super) fn tap_socket(config: &Config) -> anyhow::Result<TcpListener> {
    let bound = match (tap::listen(config.tap), without_v6(config.tap)) {
        (Err(error), Some(v4)) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => tap::listen(v4),
        (bound, _) => bound,
    };
    bound.with_context(|| format!("--tap {}", config.tap))
}

/// All IPv4 addresses, for a machine without IPv6, if `address` is all addresses.
fn without_v6(address: SocketAddr) -> Option<SocketAddr> {
    (address.is_ipv6() && address.ip().is_unspecified())
        .then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}
