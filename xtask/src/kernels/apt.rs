//! Fetches packages of other distributions without a trace in this machine's own apt.
//!
//! The configuration, lists and caches are in one folder. Signatures are checked with the distribution's keys.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{debian, host, steps};

/// A distribution's package archive.
pub(super) struct Archive {
    mirror: &'static str,
    keys: Keys,
    /// Depends on the newest kernel for virtual machines, which has the same code and fewer drivers.
    pub(super) meta: &'static str,
}

/// The public keys of an archive.
enum Keys {
    /// In a file of this machine, from a package of its own distribution.
    Here { file: &'static str, package: &'static str },
    /// In a package of another archive.
    In { archive: &'static Archive, suite: &'static str, package: &'static str, file: &'static str },
}

pub(super) const DEBIAN: Archive = Archive {
    mirror: "http://deb.debian.org/debian",
    keys: Keys::Here {
        file: "/usr/share/keyrings/debian-archive-keyring.gpg",
        package: "debian-archive-keyring",
    },
    meta: "linux-image-cloud-amd64",
};
pub(super) const UBUNTU: Archive = Archive {
    mirror: "http://archive.ubuntu.com/ubuntu",
    keys: Keys::In {
        archive: &DEBIAN,
        suite: "trixie",
        package: "ubuntu-keyring",
        file: "usr/share/keyrings/ubuntu-archive-keyring.gpg",
    },
    meta: "linux-image-virtual",
};

const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) struct Apt {
    suite: &'static str,
    folder: PathBuf,
}

impl Apt {
    /// Sets it up in `folder`, and reads the suite's package list.
    pub(super) fn new(archive: &Archive, suite: &'static str, folder: PathBuf) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).with_context(|| folder.display().to_string())?;
        }
        let (keyring, mirror) = (archive.keys.get(&folder)?, archive.mirror);
        let source = format!("deb [signed-by={}] {mirror} {suite} main\n", keyring.display());
        fs::write(folder.join("sources.list"), source)?;
        fs::write(folder.join("apt.conf"), text(&folder, &machines_proxies()))?;
        let apt = Self { suite, folder };
        let mut update = apt.command("apt-get");
        // By default a list that cannot be fetched is only a warning.
        update.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
        steps::quiet(&mut update, &format!("kernels-update-{suite}"), DOWNLOAD_TIMEOUT)?;
        Ok(apt)
    }

    /// The packages with a kernel and its modules, starting from a meta package.
    pub(super) fn closure(&self, meta: &str) -> Result<Vec<String>> {
        let (mut found, mut open) = (Vec::new(), vec![meta.to_owned()]);
        while let Some(package) = open.pop() {
            let output = self.command("apt-cache").args(["depends", &package]).output()?;
            if !output.status.success() {
                bail!("{} has no package {package}", self.suite);
            }
            for dependency in kernel_parts(&String::from_utf8_lossy(&output.stdout)) {
                if !found.contains(&dependency) {
                    open.push(dependency.clone());
                    found.push(dependency);
                }
            }
        }
        if found.is_empty() {
            bail!("{meta} of {} names no kernel", self.suite);
        }
        Ok(found)
    }

    /// Fetches packages, and unpacks them into `into`, which is emptied before.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let files = self.folder.join("packages");
        for folder in [&files, into] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        let mut download = self.command("apt-get");
        download.args(["-q", "download"]).args(packages).current_dir(&files);
        steps::quiet(&mut download, &format!("kernels-download-{}", self.suite), DOWNLOAD_TIMEOUT)?;
        for package in fs::read_dir(&files)? {
            let mut unpack = Command::new("dpkg-deb");
            host::stream(unpack.arg("--extract").arg(package?.path()).arg(into))?;
        }
        Ok(fs::remove_dir_all(&files)?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(host::which(program).unwrap_or_else(|| program.into()));
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

impl Keys {
    /// Returns the file. If it has to be fetched, it is in `folder`.
    fn get(&self, folder: &Path) -> Result<PathBuf> {
        match *self {
            Keys::Here { file, package } => {
                if !Path::new(file).is_file() {
                    debian::install(&[package])?;
                }
                Ok(file.into())
            }
            Keys::In { archive, suite, package, file } => {
                let keys = folder.join("keys");
                Apt::new(archive, suite, folder.join("keys-apt"))?.unpack(&[package.to_owned()], &keys)?;
                Ok(keys.join(file))
            }
        }
    }
}

/// Reads and writes nothing of the machine's own apt, apart from its proxy settings.
fn text(folder: &Path, proxies: &str) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::State::status \"/dev/null\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Architectures {{ \"amd64\"; }};\n\
         Acquire::Languages \"none\";\n\
         {proxies}"
    )
}

fn machines_proxies() -> String {
    let dump = Command::new("apt-config").args(["dump", "Acquire"]).output();
    let dump = dump.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    proxies(&dump)
}

fn proxies(dump: &str) -> String {
    dump.lines().filter(|line| line.contains("::Proxy")).map(|line| format!("{line}\n")).collect()
}

/// The packages among a package's dependencies that have parts of a kernel.
fn kernel_parts(depends: &str) -> Vec<String> {
    const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];
    let dependencies = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies.filter(|name| PARTS.iter().any(|part| name.starts_with(part))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_kernel_are_found_among_dependencies() {
        let depends = "linux-image-7.3.4+deb13-cloud-amd64\n  PreDepends: linux-base\n |Depends: <dracut>\n\
                       \x20 Depends: linux-base-7.3.4+deb13-cloud-amd64\n\
                       \x20 Depends: linux-binary-7.3.4+deb13-cloud-amd64\n\
                       \x20 Depends: linux-modules-7.3.4+deb13-cloud-amd64\n  Suggests: linux-doc-7.3\n";
        let parts = kernel_parts(depends);
        assert_eq!(parts, ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"]);
    }

    #[test]
    fn only_proxies_are_taken_over() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://proxy:3128\";\nAcquire::Retries \"3\";\n";
        assert_eq!(proxies(dump), "Acquire::http::Proxy \"http://proxy:3128\";\n");
        assert!(text(Path::new("/t"), "").contains("Dir::State \"/t/state\";\n"));
    }
}
