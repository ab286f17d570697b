//! Builds the front end of the dashboard, which the program weft-viz contains.

mod node;

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use self::node::Node;
use crate::{host, steps, steps::Steps};

/// What the build reads, in viz/web.
const SOURCES: [&str; 7] =
    ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "public", "src"];
const LIMIT: Duration = Duration::from_secs(900);

/// Builds viz/web/dist if a source has changed since the last time.
pub(crate) fn build(steps: &mut Steps) -> Result<()> {
    steps.step("dashboard", "its front end: npm ci and npm run build in viz/web", || {
        let web = host::root().join("viz/web");
        let stamps = host::target_dir().join("xtask");
        fs::create_dir_all(&stamps).with_context(|| stamps.display().to_string())?;
        let built = Stamp::new(&stamps.join("web-build"), &web, &SOURCES)?;
        if built.is_current() && web.join("dist/index.html").is_file() {
            println!("    nothing has changed");
            return Ok(());
        }
        let node = Node::find_or_download()?;
        let installed = Stamp::new(&stamps.join("web-packages"), &web, &["package-lock.json"])?;
        if !installed.is_current() || !web.join("node_modules").is_dir() {
            run(node.npm().args(["ci", "--no-audit", "--no-fund"]), &web, "npm-ci")?;
            installed.write()?;
        }
        run(node.npm().args(["run", "build"]), &web, "npm-build")?;
        built.write()
    })
}

/// npm with arguments, in viz/web. The packages must be installed: see [`build`].
pub(crate) fn npm(arguments: &[&str]) -> Result<Command> {
    let mut npm = Node::find_or_download()?.npm();
    npm.args(arguments).current_dir(host::root().join("viz/web")).env("NO_COLOR", "1");
    Ok(npm)
}

fn run(npm: &mut Command, web: &Path, log: &str) -> Result<()> {
    steps::quiet(npm.current_dir(web), log, LIMIT)
}

/// A file that holds a hash of the sources from which something was made last.
struct Stamp {
    path: PathBuf,
    hash: String,
}

impl Stamp {
    fn new(path: &Path, folder: &Path, sources: &[&str]) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        for source in sources {
            hash(&folder.join(source), &mut hasher)?;
        }
        Ok(Self { path: path.to_owned(), hash: format!("{:016x}", hasher.finish()) })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text == self.hash)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.hash).with_context(|| self.path.display().to_string())
    }
}

/// Hashes a file, or all files of a folder with their names.
fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    path.hash(hasher);
    if !path.is_dir() {
        fs::read(path).with_context(|| path.display().to_string())?.hash(hasher);
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().try_for_each(|entry| hash(entry, hasher))
}
