//! How is the kernel side compiled, and where is the object that comes out?

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::find::Toolchain;

/// The package and program of `proxy-ebpf`.
const NAME: &str = "weft-ebpf";
const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// What a compilation gave.
pub(crate) struct Compiled {
    /// The ELF object that the loader reads.
    pub(crate) object: PathBuf,
    /// What cargo and the compiler said, warnings among it.
    pub(crate) messages: String,
}

/// Compiles the workspace `source` (proxy-ebpf) into `target_dir`. The error is what cargo and the compiler said.
pub(crate) fn compile(tools: &Toolchain, source: &Path, target_dir: &Path) -> Result<Compiled, String> {
    let mut cargo = Command::new(tools.program("cargo"));
    clean(&mut cargo);
    cargo
        .current_dir(source)
        .args(["build", "--release", "-Z", "build-std=core", "--target", TARGET, "--bin", NAME])
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", tools.program("rustc"))
        // `-Z build-std` on a compiler that is no nightly; a nightly does not mind.
        .env("RUSTC_BOOTSTRAP", "1")
        // The maps of socket storage need BTF, and bpf-linker makes BTF of full debug information.
        .env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env(format!("CARGO_TARGET_{}_LINKER", TARGET.to_uppercase().replace('-', "_")), &tools.linker);
    let output = cargo.output().map_err(|e| format!("{}: {e}", tools.program("cargo").display()))?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("with {tools}:\n{messages}"));
    }
    let object = target_dir.join(TARGET).join("release").join(NAME);
    if !object.is_file() {
        return Err(format!("cargo succeeded and left no {}", object.display()));
    }
    Ok(Compiled { object, messages })
}

/// Takes away what an outer cargo (a build script's or `cargo xtask`'s) says to its children: it is meant for
/// another compiler and another target.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_cargo) {
            command.env_remove(name);
        }
    }
}

fn is_of_outer_cargo(name: &str) -> bool {
    // The user's: where crates are kept and how they are fetched.
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    // The token pool by which nested cargos share the processors.
    let kept = kept.iter().any(|prefix| name.starts_with(prefix)) || name == "CARGO_MAKEFLAGS";
    let alien = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"];
    let alien = alien.iter().any(|prefix| name.starts_with(prefix));
    let of_build_script =
        ["OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS"].contains(&name);
    (alien && !kept) || of_build_script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_cargo_is_silenced_and_the_user_is_not() {
        for name in ["CARGO", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTC"] {
            assert!(is_of_outer_cargo(name), "{name}");
        }
        for name in ["RUSTC_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "OUT_DIR", "TARGET", "DEBUG"] {
            assert!(is_of_outer_cargo(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY", "RUSTUP_HOME", "PATH", "HOME"] {
            assert!(!is_of_outer_cargo(name), "{name}");
        }
    }
}
