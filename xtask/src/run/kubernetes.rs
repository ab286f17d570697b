//! `cargo xtask run --kubernetes` and `--kubeconfig FILE`: the quick start on a real Kubernetes.

use std::{path::PathBuf, process, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{build, cluster, debian, doctor, host, image, steps::Steps};

/// The name of the cluster that runs while the command does.
const CLUSTER: &str = "run";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// A cluster of the user's own.
    kubeconfig: Option<PathBuf>,
    once: bool,
    release: bool,
}

/// Whether the arguments ask for Kubernetes.
pub(super) fn is_wanted(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| {
        argument == "--kubernetes" || argument == "--kubeconfig" || argument.starts_with("--kubeconfig=")
    })
}

pub(super) fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    match &options.kubeconfig {
        Some(kubeconfig) => on_users_cluster(kubeconfig, &options),
        None => on_own_cluster(&options),
    }
}

fn on_own_cluster(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
    let kubernetes = cluster::prepare(&mut steps)?;
    let images = host::target_dir().join("images-of-run");
    image::build(&mut steps, options.release, &images)?;
    steps.print_times();
    println!("==> run: the cluster runs until Ctrl-C; with --once, until its traffic is checked");
    let mut command = host::privileged(program(options), "creating namespaces")?;
    command.args(["--name", CLUSTER, "run", "--programs"]).arg(kubernetes);
    command.arg("--images").args(image::archives_in(&images)?);
    become_it(command, options)
}

fn on_users_cluster(kubeconfig: &PathBuf, options: &Options) -> Result<ExitCode> {
    ensure!(kubeconfig.is_file(), "{}: no such file", kubeconfig.display());
    ensure!(
        host::which("kubectl").is_some(),
        "kubectl is not installed: it is what you install weft with, see https://kubernetes.io/docs/tasks/tools/"
    );
    let mut steps = Steps::default();
    steps.step("C compiler", "for what is written in C", || debian::ensure(&debian::BUILD))?;
    build::programs(&mut steps, &["weft-cluster", "weft-cli"], options.release)?;
    println!(
        "==> run: the demo runs on your cluster until Ctrl-C; with --once, until its traffic is checked"
    );
    let mut command = process::Command::new(program(options));
    command.arg("run").arg("--kubeconfig").arg(kubeconfig);
    become_it(command, options)
}

fn program(options: &Options) -> PathBuf {
    build::folder(options.release).join("weft-cluster")
}

fn become_it(mut command: process::Command, options: &Options) -> Result<ExitCode> {
    command.arg("--weft").arg(build::folder(options.release).join("weft"));
    host::become_program(command.args(options.once.then_some("--once")))
}

impl Options {
    fn parse(arguments: Vec<String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--kubernetes" => {}
                "--once" => options.once = true,
                "--release" => options.release = true,
                "--kubeconfig" => {
                    options.kubeconfig = Some(arguments.next().context("--kubeconfig needs a file")?.into());
                }
                other => match other.strip_prefix("--kubeconfig=") {
                    Some(file) => options.kubeconfig = Some(file.into()),
                    None => bail!("on Kubernetes, run knows --once and --release, not {other:?}"),
                },
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn kubernetes_is_asked_for_by_either_flag() {
        assert!(is_wanted(&words("--once --kubernetes")) && is_wanted(&words("--kubeconfig=x")));
        assert!(!is_wanted(&words("--once --manifests x")));
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(words("--kubernetes --once")).expect("known options");
        assert_eq!(options, Options { once: true, ..Options::default() });
        let options = Options::parse(words("--kubeconfig a --release")).expect("known options");
        assert_eq!((options.kubeconfig, options.release), (Some("a".into()), true));
        for wrong in ["--kubernetes --manifests x", "--kubeconfig"] {
            assert!(Options::parse(words(wrong)).is_err(), "{wrong}");
        }
    }
}
