//! Puts together the file system of an emulated machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    Programs,
    cpio::Archive,
    package::Found,
    plan::{self, Step},
};
use crate::host;

const INIT: &str = include_str!("init.sh");
/// weft's programs, in the folder where the scenarios look for them.
const OWN: [&str; 4] = ["weft-proxy", "weft-control", "weft-vm", "weft-demo"];
/// Programs of this machine that weft-vm runs.
const TOOLS: [&str; 2] = ["ip", "nft"];

/// The files that all machines have: the programs and their libraries.
pub(super) fn base(programs: &Programs<'_>) -> Result<Archive> {
    let stripped = host::target_dir().join("kernels/programs");
    fs::create_dir_all(&stripped).with_context(|| stripped.display().to_string())?;
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp", "run", "weft/tests"] {
        archive.folder(folder);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("etc/hosts", b"127.0.0.1 localhost\n");
    archive.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n");
    archive.file("etc/group", b"root:x:0:\n");
    archive.file("bin/busybox", &fs::read(located("busybox")?)?);
    let mut libraries = Vec::new();
    for tool in TOOLS {
        let file = located(tool)?;
        archive.file(&format!("usr/sbin/{tool}"), &fs::read(&file)?);
        libraries.extend(needed(&file)?);
    }
    let own = OWN.map(|name| (programs.folder.join(name), format!("weft/target/debug/{name}")));
    let scenarios = (programs.scenarios.to_owned(), "weft/target/debug/deps/scenarios".to_owned());
    for (file, place) in own.into_iter().chain([scenarios]) {
        let small = stripped.join(Path::new(&place).file_name().unwrap_or_default());
        host::stream(Command::new("strip").arg("-o").arg(&small).arg(&file))?;
        archive.file(&place, &fs::read(&small)?);
        libraries.extend(needed(&file)?);
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        let content = fs::read(&library).with_context(|| library.display().to_string())?;
        archive.file(library.to_string_lossy().trim_start_matches('/'), &content);
    }
    Ok(archive)
}

/// The file system for one kernel.
pub(super) fn complete(base: &Archive, kernel: &Found, steps: &[Step]) -> Vec<u8> {
    let mut archive = base.clone();
    let mut order = String::new();
    for module in &kernel.modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.bytes);
        order += &format!("{}\n", module.name);
    }
    archive.file("modules/order", order.as_bytes());
    archive.file("plan", plan::text(steps).as_bytes());
    archive.finish()
}

fn located(program: &str) -> Result<PathBuf> {
    host::which(program).with_context(|| format!("{program} is not installed"))
}

/// The libraries that a program loads.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    Ok(libraries(&String::from_utf8_lossy(&output.stdout)))
}

/// The files that ldd names.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    let words = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_the_words_of_ldd() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(ldd), expected);
        assert!(libraries("\tnot a dynamic executable\n").is_empty());
    }
}
