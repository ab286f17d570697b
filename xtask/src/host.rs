//! Where are we, who are we, and how is a program started from here?

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Cargo, without what the cargo that started us says to its children: some build scripts would run again for it.
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

/// A program's path. Debian leaves the sbin folders out of a user's PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_uid(&status) == Some(0)
}

fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// `program` as root: as it is if we are root, else through sudo. `why` is what the user reads before the password.
pub(crate) fn privileged(program: impl AsRef<Path>, why: &str) -> Result<Command> {
    if !is_root() {
        println!("    not root: {why} goes through sudo");
    }
    privileged_quietly(program, why)
}

/// The same without a word, where standard output is another program's.
pub(crate) fn privileged_quietly(program: impl AsRef<Path>, why: &str) -> Result<Command> {
    let program = program.as_ref();
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = which("sudo") else {
        bail!("{why} needs root, and there is no sudo: run this as root");
    };
    // The password is asked for here, where nothing else writes to the terminal.
    let free = Command::new(&sudo).args(["-n", "true"]).output().is_ok_and(|output| output.status.success());
    if !free {
        stream(Command::new(&sudo).arg("-v"))?;
    }
    let mut command = Command::new(sudo);
    command.arg("--preserve-env=RUST_LOG,RUST_BACKTRACE,CI").arg("--").arg(program);
    Ok(command)
}

/// Runs a program that talks to the terminal itself; an error if it fails.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a program that talks to the terminal itself, however it ends.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start {}", shown(command)))
}

/// Becomes the program: its signals, its terminal and its exit code are ours. Returns only if that fails.
pub(crate) fn become_program(command: &mut Command) -> Result<ExitCode> {
    let error = command.env_remove("LD_LIBRARY_PATH").exec();
    Err(error).with_context(|| format!("cannot start {}", shown(command)))
}

/// A command in one line; a script among its arguments is left out.
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
