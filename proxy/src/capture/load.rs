//! Loads the programs, with maps that are pinned so that they outlive the proxy.

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData},
};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use tokio::io::{Interest, unix::AsyncFd};

use weft_common::SpliceConfig;

use super::{CaptureError, Config, kernel, maps, splice, sys};

/// Compiled by the build script from `proxy-ebpf`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_EBPF_OBJECT"));

/// Grows when a map's or program's layout changes: pins of another layout cannot be taken over.
const LAYOUT: &str = "layout-5";

/// The folders of one instance in the BPF file system.
pub(super) struct Pins {
    instance: PathBuf,
    root: PathBuf,
}

impl Pins {
    pub(super) fn prepare(config: &Config) -> Result<Self, CaptureError> {
        let is_bpffs = statfs(&config.bpffs).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
        if !is_bpffs {
            return Err(CaptureError::NotBpffs(config.bpffs.clone()));
        }
        let instance = config.bpffs.join(&config.node);
        let pins = Pins { root: instance.join(LAYOUT), instance };
        for folder in [pins.maps(), pins.links()] {
            fs::create_dir_all(&folder).map_err(CaptureError::path("make", &folder))?;
        }
        Ok(pins)
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Whether another layout's programs are attached.
    pub(super) fn has_others(&self) -> bool {
        !self.others().is_empty()
    }

    /// Detaches what another layout left, now that this one's programs see all connections.
    pub(super) fn drop_others(&self) {
        for path in self.others() {
            // Without its pin a link goes too, but only when the kernel finds the time.
            let links = fs::read_dir(path.join("links")).into_iter().flatten().flatten();
            for link in links.filter_map(|link| sys::open_pinned(&link.path()).ok()) {
                if let Err(error) = sys::detach_link(link.as_fd()) {
                    tracing::debug!(path = %path.display(), %error, "a link of another version was not detached: what it was attached to is gone");
                }
            }
            let result = fs::remove_dir_all(&path);
            tracing::info!(path = %path.display(), ?result, "removed the pins of another version");
        }
    }

    /// The cgroups of proxies that another version exempts from capture: a predecessor's.
    pub(super) fn proxies_of_others(&self) -> Vec<u64> {
        let pinned = |folder: PathBuf| {
            let map = MapData::from_pin(folder.join("maps/PROXIES")).ok()?;
            HashMap::<_, u64, u8>::try_from(Map::HashMap(map)).ok()
        };
        self.others()
            .into_iter()
            .filter_map(pinned)
            .flat_map(|map| map.keys().flatten().collect::<Vec<_>>())
            .collect()
    }

    fn others(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.instance) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).filter(|path| *path != self.root).collect()
    }
}

/// Loads the object; maps that are pinned already are used as they are.
pub(super) fn load(config: &Config, pins: &Pins, splicing: &SpliceConfig) -> Result<Ebpf, CaptureError> {
    let level: u8 = if config.trace { u8::MAX } else { 0 };
    let mut loader = EbpfLoader::new();
    loader.override_global("AYA_LOG_LEVEL", &level, true);
    loader.override_global("SPLICE", splicing, true);
    let mptcp = u8::from(kernel::has_mptcp(&config.btf));
    loader.override_global("MPTCP", &mptcp, true);
    let paths: Vec<(&str, PathBuf)> =
        maps::PINNED.iter().chain(splice::PINNED).map(|name| (*name, pins.maps().join(name))).collect();
    for (name, path) in &paths {
        loader.map_pin_path(name, Path::new(path));
    }
    let mut ebpf = loader.load(OBJECT).map_err(CaptureError::Load)?;
    if config.trace {
        trace(&mut ebpf);
    }
    Ok(ebpf)
}

fn trace(ebpf: &mut Ebpf) {
    let logger = aya_log::EbpfLogger::init(ebpf).map_err(|error| error.to_string()).and_then(|logger| {
        // SAFETY: the logger owns its descriptor and keeps it open and the same as long as it lives.
        unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|error| error.to_string())
    });
    match logger {
        Ok(mut logger) => {
            tokio::spawn(async move {
                while let Ok(mut guard) = logger.readable_mut().await {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
            });
        }
        Err(error) => tracing::warn!(error, "failed to read the eBPF programs' log"),
    }
}
