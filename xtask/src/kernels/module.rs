//! Finds the kernel modules that a machine needs, in the order in which they are loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// For the networks of weft-vm, and sock_diag. Modules that they depend on are added; those that a kernel has built in are
/// skipped.
const WANTED: [&str; 9] = [
    "veth",
    "bridge",
    "nf_tables",
    "nft_chain_nat",
    "nft_nat",
    "nft_numgen",
    "nft_reject_inet",
    "inet_diag",
    "tcp_diag",
];

/// The wanted modules of a kernel, after those that they depend on.
pub(super) fn ordered(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(folder, &mut files)?;
    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &files, &read, &mut modules)?;
    }
    Ok(modules)
}

/// Module files by the names of their modules: a file may have hyphens where the name has underscores.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some((name, _)) = name.split_once(".ko") {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    read: &dyn Fn(&Path) -> Result<Vec<u8>>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let Some(file) = files.get(name) else { return Ok(()) };
    if modules.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let bytes = read(file)?;
    for dependency in dependencies(&bytes) {
        add(&dependency, files, read, modules)?;
    }
    modules.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// The modules that a module depends on: `depends=a,b` in its section .modinfo, between zeros.
fn dependencies(module: &[u8]) -> Vec<String> {
    const MARK: &[u8] = b"\0depends=";
    let Some(start) = module.windows(MARK.len()).position(|window| window == MARK) else { return Vec::new() };
    let text = module[start + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Reads a module and decompresses it.
fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(file).with_context(|| file.display().to_string()),
    };
    let output = Command::new(program).args(["-d", "-c"]).arg(file).output().context(program)?;
    if !output.status.success() {
        bail!("{program} {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let files: BTreeMap<_, _> =
            ["a", "b", "c"].map(|name| (name.to_owned(), PathBuf::from(name))).into_iter().collect();
        let read = |file: &Path| -> Result<Vec<u8>> {
            Ok(match file.to_str() {
                Some("a") => b"ELF\0license=GPL\0depends=b,c,built-in\0name=a\0".to_vec(),
                Some("b") => b"ELF\0depends=c\0".to_vec(),
                _ => b"ELF\0depends=\0".to_vec(),
            })
        };
        let mut modules = Vec::new();
        add("a", &files, &read, &mut modules).expect("modules");
        add("c", &files, &read, &mut modules).expect("modules");
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }
}
