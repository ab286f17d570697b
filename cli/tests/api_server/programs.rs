//! Finds the programs that the tests need.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

#[derive(Clone)]
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) api_server: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) helm: PathBuf,
}

/// In $WEFT_KUBERNETES_BIN, in the folder that `cargo xtask cluster` fills, or in PATH.
pub(crate) fn find() -> Result<Programs, String> {
    let folders = folders();
    let find = |name: &str| {
        let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| format!("there is no {name}; `cargo xtask cluster up` builds it"))
    };
    Ok(Programs {
        etcd: find("etcd")?,
        api_server: find("kube-apiserver")?,
        kubectl: find("kubectl")?,
        helm: find("helm")?,
    })
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("WEFT_KUBERNETES_BIN").map(PathBuf::from).into_iter().collect();
    if let Some(home) = env::var_os("HOME") {
        let cache = Path::new(&home).join(".cache/weft/kubernetes");
        let mut built: Vec<_> = fs::read_dir(cache)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        built.sort();
        folders.extend(built.into_iter().rev());
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders
}
