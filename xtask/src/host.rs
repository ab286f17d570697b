//! The checkout, the user's rights, and how other programs are started.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Cargo without the variables that the outer cargo sets for its children: they would make build scripts run again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let of_xtask = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_xtask) {
            command.env_remove(name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH").current_dir(root());
    command
}

/// A program's path. On Debian a user's PATH lacks the sbin folders.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_uid(&status) == Some(0)
}

fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Starts `program` as root, through sudo if necessary. The user reads `why` before the password is asked for.
pub(crate) fn privileged(program: impl AsRef<Path>, why: &str) -> Result<Command> {
    if !is_root() {
        println!("    using sudo for {why}");
    }
    privileged_quietly(program, why)
}

/// The same without a message, where standard output belongs to another program.
pub(crate) fn privileged_quietly(program: impl AsRef<Path>, why: &str) -> Result<Command> {
    let program = program.as_ref();
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = which("sudo") else {
        bail!("{why} needs root and sudo is not installed: run this as root");
    };
    // Asks for the password now, while nothing else writes to the terminal.
    let free = Command::new(&sudo).args(["-n", "true"]).output().is_ok_and(|output| output.status.success());
    if !free {
        stream(Command::new(&sudo).arg("-v"))?;
    }
    let mut command = Command::new(sudo);
    command.arg("--preserve-env=RUST_LOG,RUST_BACKTRACE,CI").arg("--").arg(program);
    Ok(command)
}

/// Runs a program that writes to the terminal. An error if it fails.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a program that writes to the terminal, and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start {}", shown(command)))
}

/// Replaces this process by the program. Returns only if that fails.
pub(crate) fn become_program(command: &mut Command) -> Result<ExitCode> {
    let error = command.env_remove("LD_LIBRARY_PATH").exec();
    Err(error).with_context(|| format!("cannot start {}", shown(command)))
}

/// A command in one line, without the text of scripts.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy());
    words.map(|word| if word.contains('\n') { "…".into() } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_uid_counts() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t1000\t1000\t1000\t1000\n"), Some(1000));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }

    #[test]
    fn a_missing_program_is_not_found() {
        assert!(which("sh").is_some());
        assert!(which("no-such-program-of-weft").is_none());
    }
}
