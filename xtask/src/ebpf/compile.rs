//! Compiles the eBPF programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{environment, find::Toolchain};

/// The package and program of `proxy-ebpf`.
const NAME: &str = "weft-ebpf";
const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

pub(crate) struct Compiled {
    /// The ELF object that the loader reads.
    pub(crate) object: PathBuf,
    /// The output of cargo and the compiler, with the warnings.
    pub(crate) messages: String,
}

/// Compiles the workspace `source` (proxy-ebpf) into `target_dir`. The error is the output of cargo and the compiler.
pub(crate) fn compile(tools: &Toolchain, source: &Path, target_dir: &Path) -> Result<Compiled, String> {
    let mut cargo = Command::new(tools.program("cargo"));
    environment::clean(&mut cargo);
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
