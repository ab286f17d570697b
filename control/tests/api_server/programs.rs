//! Finds the programs of Kubernetes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where `cargo xtask cluster` puts what it builds, below the home folder: in `VERSION/bin`.
const CACHE: &str = ".cache/weft/kubernetes";

#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) api_server: PathBuf,
    pub(crate) kubectl: PathBuf,
}

impl Programs {
    /// # Errors
    /// What is missing, and how to get it.
    pub(crate) fn find() -> Result<Self, String> {
        Self::find_in(None)
    }

    /// In a folder first.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(crate) fn find_in(folder: Option<&Path>) -> Result<Self, String> {
        let find = |name: &str| match folder.map(|folder| folder.join(name)).filter(|file| file.is_file()) {
            Some(file) => Ok(file),
            None => find(name),
        };
        Ok(Self { etcd: find("etcd")?, api_server: find("kube-apiserver")?, kubectl: find("kubectl")? })
    }
}

fn find(name: &str) -> Result<PathBuf, String> {
    let own = env::var_os("WEFT_KUBERNETES_BIN").map(PathBuf::from);
    let cache = env::var_os("HOME").and_then(|home| fs::read_dir(PathBuf::from(home).join(CACHE)).ok());
    let cached = cache.into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(cached).chain(env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        format!(
            "no {name} in PATH, in $WEFT_KUBERNETES_BIN or in ~/{CACHE}/*/bin: `cargo xtask cluster up` builds the programs \
             of Kubernetes, and Debian's package etcd-server has etcd"
        )
    })
}
