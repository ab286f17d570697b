//! Builds Kubernetes' programs from their Go modules, or takes them from PATH where their version fits.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::go;
use crate::{host, steps};

pub(super) const KUBERNETES: &str = "v1.36.3";
const MODULE: &str = "xtask/cluster/programs";

/// The module that they are built from. Kubernetes' own go.mod points at folders that a download lacks: here its parts
/// are replaced by their published versions.
pub(super) const SOURCES: [&str; 3] =
    ["xtask/cluster/programs/go.mod", "xtask/cluster/programs/go.sum", "xtask/cluster/programs/etcd/main.go"];

#[derive(Debug)]
struct Program {
    name: &'static str,
    /// A package of the module, or of another one if it has a version.
    package: &'static str,
    /// Arguments that make it print its version, and a part of the output that fits.
    version: (&'static [&'static str], &'static str),
    /// How long the build takes on two cores, in seconds.
    seconds: u64,
}

const fn kubernetes(name: &'static str, package: &'static str, seconds: u64) -> Program {
    Program { name, package, version: (&["--version"], "v1.36."), seconds }
}

/// Slow ones first: what they have in common with the others is then built.
const PROGRAMS: [Program; 12] = [
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 450),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 120),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 15),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet", 40),
    Program {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
        version: (&["version", "--client"], "Client Version: v1.36."),
        seconds: 60,
    },
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 15),
    Program { name: "etcd", package: "./etcd", version: (&["--version"], "etcd Version: 3.6."), seconds: 30 },
    containerd("containerd", "github.com/containerd/containerd/v2/cmd/containerd@v2.4.2", 120),
    containerd(
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@v2.4.2",
        15,
    ),
    containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr@v2.4.2", 15),
    Program {
        name: "coredns",
        package: "github.com/coredns/coredns@v1.12.4",
        version: (&["-version"], "CoreDNS-1.12."),
        seconds: 230,
    },
    Program {
        name: "helm",
        package: "helm.sh/helm/v3/cmd/helm@v3.22.0",
        version: (&["version", "--short"], "v3."),
        seconds: 110,
    },
];

const fn containerd(name: &'static str, package: &'static str, seconds: u64) -> Program {
    Program { name, package, version: (&["-v"], " v2."), seconds }
}

/// Much longer than on a slow machine.
const LIMIT: Duration = Duration::from_secs(3600);

/// All that makes the programs what they are, for the name of their folder.
pub(super) fn describe() -> String {
    format!("{PROGRAMS:?} {:?}", flags())
}

/// Builds those that are missing in `folder/bin`.
pub(super) fn ensure(folder: &Path) -> Result<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    let missing: Vec<&Program> =
        PROGRAMS.iter().filter(|program| !bin.join(program.name).is_file()).collect();
    let Some(_) = missing.first() else {
        println!("    {}", folder.display());
        return Ok(());
    };
    let mut compiler = None;
    for (index, program) in missing.iter().enumerate() {
        let position = format!("{} of {}", index + 1, missing.len());
        let draft = bin.join(format!(".{}", program.name));
        if let Some(found) = fitting(program) {
            println!("    {position}: {} of {}", program.name, found.display());
            fs::copy(&found, &draft).with_context(|| found.display().to_string())?;
        } else {
            let go = match &compiler {
                Some(go) => go,
                None => compiler.insert(go::ensure()?),
            };
            let time = steps::shown(Duration::from_secs(program.seconds));
            println!("    {position}: {} from {} (at most about {time})", program.name, program.package);
            build(go, program, &bin, &draft)?;
        }
        fs::rename(&draft, bin.join(program.name))?;
    }
    Ok(())
}

/// The program in PATH, if its version fits.
fn fitting(program: &Program) -> Option<std::path::PathBuf> {
    let found = host::which(program.name)?;
    let (arguments, part) = program.version;
    let output = Command::new(&found).args(arguments).stdin(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).contains(part).then_some(found)
}

fn build(go: &Path, program: &Program, bin: &Path, draft: &Path) -> Result<()> {
    let mut command = Command::new(go);
    command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "auto").env_remove("GOFLAGS");
    let log = format!("go-{}", program.name);
    if program.package.contains('@') {
        // It names the file after the package.
        let target = bin.join(".install");
        command.env("GOBIN", &target).args(["install", "-ldflags", "-s -w", program.package]);
        steps::quiet(&mut command, &log, LIMIT)?;
        fs::rename(target.join(program.name), draft).context("go install made no program")?;
        return Ok(fs::remove_dir_all(target)?);
    }
    command.current_dir(host::root().join(MODULE)).args(["build", "-buildvcs=false", "-ldflags"]);
    command.arg(flags()).arg("-o").arg(draft).arg(program.package);
    steps::quiet(&mut command, &log, LIMIT)
}

/// Without symbols; with the version that the programs report.
fn flags() -> String {
    let (component, client) = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version");
    format!(
        "-s -w -X {component}.gitVersion={KUBERNETES} -X {component}.gitMajor=1 -X {component}.gitMinor=36 \
         -X {component}.gitTreeState=clean -X {client}.gitVersion={KUBERNETES}"
    )
}
