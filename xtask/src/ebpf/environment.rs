//! Keeps what an outer cargo sets in the environment away from compilers and cargos that are started here.

use std::{env, process::Command};

/// Removes the variables that an outer cargo (a build script's or `cargo xtask`'s) sets for its children: they are
/// meant for another compiler and another target.
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
