//! Compiles the kernel side and tells the crate where the object is: `include_bytes!(env!("WEFT_EBPF_OBJECT"))`.

#[path = "../xtask/src/ebpf/mod.rs"]
mod ebpf;

use std::{
    env,
    path::{Path, PathBuf},
    process::exit,
};

fn main() {
    if let Err(reason) = run() {
        eprintln!("{reason}");
        println!("cargo::error={}", reason.lines().next().unwrap_or_default());
        exit(1);
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=WEFT_EBPF_TOOLCHAIN");
    for path in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed=../proxy-ebpf/{path}");
    }
    for path in ["proxy-common/src", "proxy-common/Cargo.toml", "xtask/src/ebpf"] {
        println!("cargo::rerun-if-changed=../{path}");
    }
    let tools = ebpf::find().map_err(|missing| {
        format!(
            "the toolchain for the eBPF programs is missing: run cargo xtask build (it sets it up)\n{missing}"
        )
    })?;
    println!("cargo::rerun-if-changed={}", tools.linker.display());
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let built = ebpf::compile(&tools, Path::new("../proxy-ebpf"), &shared(&out_dir).join("ebpf"))
        .map_err(|reason| format!("the eBPF programs do not compile\n{reason}"))?;
    // Cargo shows nothing of what a build script runs, unless it is told in this form.
    for warning in built.messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo::warning=eBPF programs: {warning}");
    }
    // A copy of our own: the shared folder may be built again, by another profile, while this crate is compiled.
    let object = out_dir.join("weft-ebpf");
    std::fs::copy(&built.object, &object).map_err(|e| format!("{}: {e}", object.display()))?;
    println!("cargo::rustc-env=WEFT_EBPF_OBJECT={}", object.display());
    Ok(())
}

/// The target folder (cargo marks it so), that debug, release and lint need not each compile `core`.
fn shared(out_dir: &Path) -> &Path {
    out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).unwrap_or(out_dir)
}
