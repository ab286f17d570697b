//! Finds a compiler and a linker on this machine that can build the eBPF programs.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use super::probe;

/// Rust 1.x that the workspace is written for.
pub(crate) const OLDEST: u32 = 90;

/// A compiler with the source of `core`, which no toolchain ships compiled for BPF, and a linker that reads its bitcode.
pub(crate) struct Toolchain {
    /// Root of the compiler: `bin/rustc`, `lib/rustlib/src/rust`.
    pub(crate) sysroot: PathBuf,
    /// The `bpf-linker` program.
    pub(crate) linker: PathBuf,
    version: probe::Version,
}

impl Toolchain {
    /// A program of the compiler's own `bin`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, {}", self.version, self.sysroot.display(), self.linker.display())
    }
}

/// No toolchain: each one that was tried, and why it cannot be used.
pub(crate) struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no Rust compiler with the source of core (rust-src) was found");
        }
        write!(f, "{}", self.0.join("; "))
    }
}

/// Returns the first toolchain that works, in this order: `$WEFT_EBPF_TOOLCHAIN` (a rustup toolchain's name or a
/// sysroot; then only that), rustup's nightly, rustup's others, the distribution's compiler in /usr.
pub(crate) fn find() -> Result<Toolchain, Missing> {
    let linkers = linkers();
    let mut tried = Vec::new();
    for sysroot in sysroots() {
        match check(&sysroot, &linkers) {
            Ok((version, linker)) => {
                return Ok(Toolchain { version, linker: linker.to_owned(), sysroot });
            }
            Err(reason) => tried.push(format!("{}: {reason}", sysroot.display())),
        }
    }
    Err(Missing(tried))
}

fn check<'a>(sysroot: &Path, linkers: &'a [PathBuf]) -> Result<(probe::Version, &'a Path), String> {
    if !sysroot.join("bin/cargo").is_file() {
        return Err("has no cargo".into());
    }
    if !has_source(sysroot) {
        return Err("has no rust-src".into());
    }
    let rustc = sysroot.join("bin/rustc");
    let version = probe::version(&rustc)?;
    if version.minor < OLDEST {
        return Err(format!("{version} is older than 1.{OLDEST}"));
    }
    if linkers.is_empty() {
        return Err(format!("no bpf-linker (LLVM {} is needed)", version.llvm));
    }
    let mut refusals = Vec::new();
    for linker in linkers {
        match probe::links(&rustc, linker) {
            Ok(()) => return Ok((version, linker)),
            Err(reason) => refusals.push(reason),
        }
    }
    Err(format!("no bpf-linker for LLVM {}: {}", version.llvm, refusals.join(", ")))
}

/// Whether rust-src is installed: a nightly often lacks it.
pub(crate) fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

/// The folders of compilers, best first.
fn sysroots() -> Vec<PathBuf> {
    if let Some(named) = named() {
        return named;
    }
    let mut found = rustup_sysroots();
    // rustup may have a name for it too.
    let system = Path::new("/usr");
    if system.join("bin/rustc").is_file() && !found.iter().any(|path| is_same(path, system)) {
        found.push(system.into());
    }
    found
}

/// The toolchains that `$WEFT_EBPF_TOOLCHAIN` names, if it is set.
pub(crate) fn named() -> Option<Vec<PathBuf>> {
    let wanted = PathBuf::from(env::var_os("WEFT_EBPF_TOOLCHAIN").filter(|wanted| !wanted.is_empty())?);
    if wanted.components().count() > 1 {
        return Some(vec![wanted]);
    }
    let is_wanted = |toolchain: &PathBuf| is_named(toolchain, &wanted.to_string_lossy());
    Some(order(rustup_toolchains()).into_iter().filter(is_wanted).collect())
}

/// Rustup's toolchains, best first. A toolchain with several names counts once.
pub(crate) fn rustup_sysroots() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in order(rustup_toolchains()) {
        if path.join("bin/rustc").is_file() && !found.iter().any(|earlier| is_same(earlier, &path)) {
            found.push(path);
        }
    }
    found
}

fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().is_some_and(|a| b.canonicalize().ok() == Some(a))
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let entries = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Nightlies first: `-Z build-std` is meant for them, and the others need RUSTC_BOOTSTRAP.
fn order(mut toolchains: Vec<PathBuf>) -> Vec<PathBuf> {
    toolchains.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (!name.starts_with("nightly"), !name.starts_with("stable"), name)
    });
    toolchains
}

/// `nightly` names `nightly-x86_64-unknown-linux-gnu`, as in rustup's own commands.
fn is_named(toolchain: &Path, wanted: &str) -> bool {
    let name = toolchain.file_name().unwrap_or_default().to_string_lossy();
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'))
}

/// Every `bpf-linker` on this machine.
pub(crate) fn linkers() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let mut places: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|p| p.is_absolute()).collect();
    places.push(cargo_home.join("bin"));
    // `cargo xtask build` installs its own here.
    places.push(home.join(".cache/weft/bin"));
    let mut found: Vec<PathBuf> = Vec::new();
    for place in places {
        let linker = place.join("bpf-linker");
        if linker.is_file() && !found.contains(&linker) {
            found.push(linker);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_comes_before_a_stable_before_the_rest() {
        let names = ["1.90.0-x", "stable-x", "debian-web", "nightly-2026-01-01-x", "nightly-x"];
        let ordered = order(names.iter().map(PathBuf::from).collect());
        let expected = ["nightly-2026-01-01-x", "nightly-x", "stable-x", "1.90.0-x", "debian-web"];
        assert_eq!(ordered, expected.map(PathBuf::from));
    }

    #[test]
    fn a_toolchain_is_named_with_or_without_its_host() {
        let path = Path::new("/home/u/.rustup/toolchains/nightly-x86_64-unknown-linux-gnu");
        assert!(is_named(path, "nightly"));
        assert!(is_named(path, "nightly-x86_64-unknown-linux-gnu"));
        assert!(!is_named(path, "night"));
        assert!(!is_named(path, "stable"));
    }
}
