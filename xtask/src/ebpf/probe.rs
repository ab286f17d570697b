//! Asks a compiler for its version, and tries whether a linker reads what it writes.

use std::{
    env, fmt, fs,
    path::Path,
    process::{self, Command},
};

use super::environment::clean;

/// The output of `rustc -vV`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Release, for example `1.96.0` or `1.97.0-nightly`.
    pub(crate) release: String,
    /// The 96 of `1.96.0`.
    pub(crate) minor: u32,
    /// LLVM's major: bitcode of a newer one cannot be read by an older one.
    pub(crate) llvm: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {} (LLVM {})", self.release, self.llvm)
    }
}

/// Asks a compiler for its version.
pub(crate) fn version(rustc: &Path) -> Result<Version, String> {
    let mut command = Command::new(rustc);
    clean(&mut command);
    let output = command.arg("-vV").output().map_err(|e| format!("{}: {e}", rustc.display()))?;
    if !output.status.success() {
        return Err(format!("{} -vV: {}", rustc.display(), output.status));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{} -vV: no LLVM version", rustc.display()))
}

fn parse(text: &str) -> Option<Version> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    let release = field("release:")?;
    let minor = release.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
    Some(Version { release: release.to_owned(), minor, llvm })
}

/// Compiles one function to bitcode and links it: `bpf-linker --version` does not name its LLVM.
pub(crate) fn links(rustc: &Path, linker: &Path) -> Result<(), String> {
    let dir = env::temp_dir().join(format!("weft-linker-probe-{}", process::id()));
    fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let result = links_in(&dir, rustc, linker);
    // A leftover of one small folder in the temporary directory is no reason to fail.
    let _ = fs::remove_dir_all(&dir);
    result
}

fn links_in(dir: &Path, rustc: &Path, linker: &Path) -> Result<(), String> {
    const SOURCE: &str = "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn probe() -> u32 { 1 }\n";
    fs::write(dir.join("probe.rs"), SOURCE).map_err(|e| e.to_string())?;
    let mut compile = Command::new(rustc);
    compile.args(["--edition=2024", "--crate-type=lib", "--emit=llvm-bc", "-Cpanic=abort"]);
    run(compile.args(["-o", "probe.bc", "probe.rs"]).current_dir(dir))?;
    let mut link = Command::new(linker);
    link.args(["--target=bpfel", "--export=probe", "-o", "probe.o", "probe.bc"]);
    run(link.current_dir(dir))
}

fn run(command: &mut Command) -> Result<(), String> {
    clean(command);
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{program} failed: {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_release_and_llvm() {
        let text = "rustc 1.97.0-nightly (e22c616e4 2026-04-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let version = parse(text).expect("a version");
        assert_eq!(version, Version { release: "1.97.0-nightly".into(), minor: 97, llvm: 22 });
        assert_eq!(version.to_string(), "rustc 1.97.0-nightly (LLVM 22)");
    }

    #[test]
    fn a_compiler_without_llvm_does_not_do() {
        assert_eq!(parse("rustc 1.97.0\nrelease: 1.97.0\n"), None);
        assert_eq!(parse("release: 1.97.0\nLLVM version: unknown\n"), None);
        assert_eq!(parse(""), None);
    }
}
