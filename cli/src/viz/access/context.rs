//! Finds a dev VM that `cargo xtask run` has started, by the context that it writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

/// Each running dev VM has a folder here.
const FOLDER: &str = "/run/weft";
const FILE: &str = "context.json";
/// A context has a few lines; a token has one.
const MAX_FILE: u64 = 64 << 10;

/// How a dev VM's weft-viz is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VmContext {
    pub(crate) name: String,
    pub(crate) web_url: String,
    pub(crate) tap_url: String,
    pub(crate) tap_token_file: PathBuf,
    pub(crate) prometheus_url: Option<String>,
    pub(crate) control_plane_namespace: String,
}

impl VmContext {
    /// The one that is named: by its name, by the path of its file, or the only one if the name is empty.
    pub(super) fn named(name: &str) -> Result<Self> {
        if name.contains('/') {
            return read(Path::new(name));
        }
        let mut all = list(Path::new(FOLDER))?;
        if !name.is_empty() {
            let names = names(&all);
            return all.into_iter().find(|context| context.name == name).ok_or_else(|| {
                anyhow!("no dev VM {name:?} runs ({names}); `cargo xtask run` starts one with a dashboard")
            });
        }
        match all.len() {
            0 => bail!("no dev VM with a dashboard runs; `cargo xtask run` starts one"),
            1 => Ok(all.remove(0)),
            _ => bail!("there are several dev VMs ({}); choose one with --vm=NAME", names(&all)),
        }
    }

    /// The only dev VM that runs, if there is exactly one.
    pub(crate) fn only() -> Option<Self> {
        let mut all = list(Path::new(FOLDER)).ok()?;
        if all.len() == 1 { all.pop() } else { None }
    }

    /// The token that the tap API asks for.
    pub(super) fn tap_token(&self) -> Result<String> {
        let path = self.tap_token_file.display();
        let text = limited(&self.tap_token_file).with_context(|| {
            format!("the token for taps cannot be read from {path}; only its owner may (try with sudo)")
        })?;
        let token = text.trim().to_owned();
        if token.is_empty() {
            bail!("the file {path} has no token; restart `cargo xtask run`");
        }
        Ok(token)
    }
}

fn names(contexts: &[VmContext]) -> String {
    if contexts.is_empty() {
        return "none runs".to_owned();
    }
    let names: Vec<_> = contexts.iter().map(|context| context.name.as_str()).collect();
    format!("running: {}", names.join(", "))
}

fn list(folder: &Path) -> Result<Vec<VmContext>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path().join(FILE))).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<VmContext> {
    let text =
        limited(path).with_context(|| format!("cannot read the context of a dev VM, {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no context of a dev VM; restart `cargo xtask run`", path.display()))
}

fn limited(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::other("the file is too large"));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        fs::create_dir(folder.join(name)).unwrap();
        let text = format!(
            r#"{{"name":"{name}","webUrl":"http://127.0.0.1:8084","tapUrl":"http://127.0.0.1:8089",
                "tapTokenFile":"/nowhere","prometheusUrl":null,"controlPlaneNamespace":"weft"}}"#
        );
        fs::write(folder.join(name).join(FILE), text).unwrap();
    }

    #[test]
    fn contexts_are_found_in_the_folders_of_running_vms() {
        let folder = tempfile::tempdir().unwrap();
        assert!(list(&folder.path().join("none")).unwrap().is_empty());
        fs::create_dir(folder.path().join("without-viz")).unwrap();
        write(folder.path(), "run");
        write(folder.path(), "other");
        assert_eq!(names(&list(folder.path()).unwrap()), "running: other, run");
    }

    #[test]
    fn a_file_that_is_no_context_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", VmContext::named(path.to_str().unwrap()).unwrap_err());
        assert!(error.contains("context.json") && error.contains("missing field `name`"), "{error}");
    }

    #[test]
    fn a_token_that_cannot_be_read_says_who_may() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "run");
        let error = format!("{:#}", list(folder.path()).unwrap()[0].tap_token().unwrap_err());
        assert!(error.contains("/nowhere") && error.contains("sudo"), "{error}");
    }
}
