//! Finds Go, or downloads it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::cache;
use crate::{debian, host, steps};

/// The oldest minor version that downloads a newer toolchain by itself where a module asks for one.
const OLDEST: u32 = 21;
const VERSION: &str = "1.26.8";
/// SHA-256 of the toolchain as Go's module proxy has it, which never changes a file.
const SUMS: [(&str, &str, &str); 2] = [
    ("x86_64", "amd64", "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7"),
    ("aarch64", "arm64", "02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99"),
];
const PROXY: &str = "https://proxy.golang.org";
const DOWNLOAD: Duration = Duration::from_secs(900);

/// The program `go` of PATH or of its usual folder, else Debian's if it is new enough, else a downloaded one.
pub(super) fn ensure() -> Result<PathBuf> {
    if let Some(found) = find() {
        println!("    Go: {}", found.display());
        return Ok(found);
    }
    if debian::candidate("golang-go").and_then(|version| minor(&version)).is_some_and(|minor| minor >= OLDEST)
    {
        debian::install(&["golang-go"])?;
        return find().context("Debian's golang-go has no program go");
    }
    download()
}

fn find() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    let mut candidates = host::which("go").into_iter().chain([usual]);
    candidates.find(|go| is_new_enough(go))
}

fn is_new_enough(go: &Path) -> bool {
    let output = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.strip_prefix("go version go").and_then(minor).is_some_and(|minor| minor >= OLDEST)
}

/// The 26 of `1.26.8 linux/amd64` or of `2:1.26~1`.
fn minor(version: &str) -> Option<u32> {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    let digits = version.strip_prefix("1.")?.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Go's own toolchain, a module like any other.
fn download() -> Result<PathBuf> {
    let folder = cache::base()?.join(format!("go{VERSION}"));
    let go = folder.join("bin/go");
    if go.is_file() {
        return Ok(go);
    }
    let architecture = env::consts::ARCH;
    let Some((_, name, sum)) = SUMS.iter().find(|(known, ..)| *known == architecture) else {
        bail!(
            "no Go of version 1.{OLDEST} or newer in PATH, and none to download for {architecture}: install it"
        );
    };
    debian::ensure(&debian::DOWNLOAD)?;
    let module = format!("golang.org/toolchain@v0.0.1-go{VERSION}.linux-{name}");
    println!("    Go {VERSION} is downloaded from {}: 70 MB", proxy());
    let draft = cache::base()?.join(format!(".go{VERSION}"));
    let archive = draft.join("go.zip");
    let _ = fs::remove_dir_all(&draft);
    fs::create_dir_all(&draft)?;
    let mut curl = Command::new("curl");
    let url = format!("{}/{}.zip", proxy(), module.replacen('@', "/@v/", 1));
    curl.args(["--fail", "--location", "--retry", "3", "--output"]).arg(&archive).arg(url);
    steps::quiet(&mut curl, "go-download", DOWNLOAD)?;
    let output = Command::new("sha256sum").arg(&archive).output().context("sha256sum")?;
    let found = String::from_utf8_lossy(&output.stdout);
    ensure!(found.starts_with(sum), "the downloaded Go has the SHA-256 {}, not {sum}", found.trim());
    let mut unzip = Command::new("unzip");
    unzip.arg("-q").arg(&archive).arg("-d").arg(&draft);
    steps::quiet(&mut unzip, "go-unzip", DOWNLOAD)?;
    let inside = draft.join(&module);
    // Modules have no permissions to execute.
    for programs in ["bin".to_owned(), format!("pkg/tool/linux_{name}")] {
        for entry in fs::read_dir(inside.join(&programs)).with_context(|| programs.clone())? {
            fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::rename(&inside, &folder)?;
    fs::remove_dir_all(&draft)?;
    Ok(go)
}

/// The first proxy of GOPROXY that is a URL.
fn proxy() -> String {
    let named = env::var("GOPROXY").unwrap_or_default();
    let found = named.split([',', '|']).find(|word| word.starts_with("http")).unwrap_or(PROXY);
    found.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_versions_are_read() {
        assert_eq!(minor("1.26.8 linux/amd64\n"), Some(26));
        assert_eq!(minor("2:1.19~1"), Some(19));
        assert_eq!(minor("1.27rc1"), Some(27));
        assert_eq!(minor("devel"), None);
    }
}
