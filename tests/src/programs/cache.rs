//! Programs and libraries that scenarios build or install themselves, once, outside the checkout.
//!
//! They are in `~/.cache/weft/scenarios`. If that fails, scenarios that need them are skipped.

use std::{
    collections::HashMap,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::suite::skip;

/// The folder of sources that belong to scenarios.
pub(super) fn sources(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(folder)
}

/// A program in PATH, or in one of the folders where it is often installed without being in PATH.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let others = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/go/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(others).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// [`find`]; without the program the scenario is skipped.
pub(super) fn need(program: &str, package: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| skip(format!("{program} is not installed (Debian's package {package})")))
}

/// The folder `name` of the cache, which `commands` fill for these sources. They get the folder that they should fill,
/// which is moved afterwards, and have `limit` together.
pub(super) fn cached(
    name: &str,
    sources: &[PathBuf],
    limit: Duration,
    commands: impl FnOnce(&Path) -> Vec<Command>,
) -> Result<PathBuf> {
    // A failure takes long: once is enough.
    static FAILED: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = failed.get_or_insert_default();
    if let Some(reason) = failed.get(name) {
        return Err(skip(reason));
    }
    fill(name, sources, limit, commands).map_err(|e| {
        let reason = format!("{name} cannot be prepared: {e:#}");
        failed.insert(name.to_owned(), reason.clone());
        skip(reason)
    })
}

fn fill(
    name: &str,
    sources: &[PathBuf],
    limit: Duration,
    commands: impl FnOnce(&Path) -> Vec<Command>,
) -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    let root = Path::new(&home).join(".cache/weft/scenarios");
    let folder = root.join(format!("{name}-{:016x}", fingerprint(sources)?));
    fs::create_dir_all(&root)?;
    let lock = fs::File::create(root.join(format!("{name}.lock")))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e)?;
    if folder.exists() {
        return Ok(folder);
    }
    for entry in fs::read_dir(&root)? {
        let entry = entry?;
        let old = entry.file_name().to_string_lossy().starts_with(&format!("{name}-"));
        if old && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let draft = root.join(format!("{name}-draft"));
    fs::create_dir_all(&draft)?;
    let (begun, log) = (Instant::now(), root.join(format!("{name}.log")));
    for command in commands(&draft) {
        run(command, &log, limit.saturating_sub(begun.elapsed()))?;
    }
    fs::rename(draft, &folder)?;
    Ok(folder)
}

fn fingerprint(sources: &[PathBuf]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for source in sources {
        let text = fs::read(source).with_context(|| format!("its source {}", source.display()))?;
        (source.file_name(), text).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn run(mut command: Command, log: &Path, limit: Duration) -> Result<()> {
    let output = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let program = command.get_program().to_owned();
    let mut child = command.spawn().with_context(|| format!("{program:?}"))?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(3).collect();
                bail!("{program:?}: {status}: {}", last.into_iter().rev().collect::<Vec<_>>().join("; "));
            }
            None if Instant::now() > deadline => {
                kill(Pid::from_raw(-child.id().cast_signed()), Signal::SIGKILL)?;
                child.wait()?;
                bail!("{program:?} did not end in time");
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}
