//! Tries weft on other kernels than this machine's: Debian's and Ubuntu's, one after the other, in emulated machines.
//!
//! Each machine boots such a kernel with an initial file system made of the programs under test, loads the eBPF
//! object, runs scenarios, and writes the results to a serial line.

mod apt;
mod cpio;
mod guest;
mod image;
mod module;
mod package;
mod plan;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::{
    apt::{Archive, DEBIAN, UBUNTU},
    package::Found,
    plan::Step,
    report::Outcome,
};
use crate::{debian, host, steps};

pub(crate) struct Kernel {
    archive: &'static Archive,
    /// The archive's name for the release.
    suite: &'static str,
    role: Role,
}

/// The result that is expected of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It runs weft, and splices connections that opt in.
    Splices,
    /// It runs weft and lacks what splicing needs: the proxy reports that and relays.
    Relays,
    /// It is too old, and weft refuses to run.
    TooOld,
}

/// The tests that a kernel has to pass.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent<'a> {
    /// Every eBPF program passes the verifier, or weft refuses to run. Takes seconds, and does not depend on the speed
    /// of the machine. Part of every `cargo xtask test`.
    Loads,
    /// Scenarios too, one of each kind of traffic.
    Smoke,
    /// Scenarios whose name contains this.
    Filter(&'a str),
}

const KERNELS: [Kernel; 5] = [
    // 6.1, the oldest that is supported
    Kernel { archive: &DEBIAN, suite: "bookworm", role: Role::Splices },
    // 6.8 as it was released: Ubuntu's updates, which have what splicing needs, are in another suite.
    Kernel { archive: &UBUNTU, suite: "noble", role: Role::Relays },
    // 6.12
    Kernel { archive: &DEBIAN, suite: "trixie", role: Role::Splices },
    // the newest that a stable Debian can install
    Kernel { archive: &DEBIAN, suite: "trixie-backports", role: Role::Splices },
    // 5.10
    Kernel { archive: &DEBIAN, suite: "bullseye", role: Role::TooOld },
];

pub(crate) struct Programs<'a> {
    /// The folder with weft's programs.
    pub(crate) folder: &'a Path,
    /// The compiled scenarios.
    pub(crate) scenarios: &'a Path,
}

/// How many kernels gave the expected result.
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Installs the emulator and fetches the kernels.
pub(crate) fn prepare() -> Result<()> {
    debian::ensure(&debian::KERNELS)?;
    KERNELS.iter().try_for_each(|kernel| {
        let found = kernel.ensure()?;
        println!("    {} of {}", found.release, kernel.suite);
        Ok(())
    })
}

impl Kernel {
    fn folder(&self) -> PathBuf {
        host::target_dir().join("kernels").join(self.suite)
    }

    /// Fetches it if it is not in its folder.
    fn ensure(&self) -> Result<Found> {
        let folder = self.folder();
        let ensure = || {
            fs::create_dir_all(&folder)?;
            package::ensure(self.archive, self.suite, &folder)?;
            package::kept(&folder)
        };
        ensure().with_context(|| format!("the kernel of {}", self.suite))
    }
}

/// Tries every kernel, one after the other. Prints a table.
pub(crate) fn run(programs: &Programs<'_>, extent: Extent<'_>) -> Result<Count> {
    if let Extent::Filter(filter) = extent
        && !plan::is_plain(filter)
    {
        bail!("{filter:?} cannot be part of a scenario's name");
    }
    let base = image::base(programs)?;
    let mut results = Vec::new();
    for kernel in &KERNELS {
        // A kernel that is too old cannot run scenarios.
        if matches!((extent, kernel.role), (Extent::Filter(_), Role::TooOld)) {
            continue;
        }
        let steps = plan::steps(kernel.role, extent);
        results
            .push(attempt(kernel, &steps, &base).with_context(|| format!("the kernel of {}", kernel.suite))?);
    }
    print!("{}", report::table(&results));
    let passed = results.iter().filter(|outcome| outcome.is_good()).count() as u64;
    Ok(Count { passed, failed: results.len() as u64 - passed })
}

fn attempt(kernel: &Kernel, steps: &[Step], base: &cpio::Archive) -> Result<Outcome> {
    let folder = kernel.folder();
    let found = package::kept(&folder)?;
    println!("    booting {}", found.release);
    let initrd = folder.join("initrd");
    fs::write(&initrd, image::complete(base, &found, steps)).with_context(|| initrd.display().to_string())?;
    let ended = guest::boot(&found.image, &initrd, &folder)?;
    let outcome = report::read(&found.release, steps, &ended);
    for line in outcome.failures() {
        println!("    {line}");
    }
    println!("    {}: {} after {}", found.release, outcome.verdict(), steps::shown(ended.time));
    Ok(outcome)
}
