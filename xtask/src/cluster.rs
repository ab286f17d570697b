//! `cargo xtask cluster`: a real Kubernetes of two nodes on this machine.

use std::{fs, path::PathBuf, process, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{Command, build, debian, doctor, host, image, kubernetes, steps::Steps};

pub(crate) const COMMAND: Command = Command {
    name: "cluster",
    arguments: "[--name NAME] up | down | status | kubectl … | helm … | load-images [FILE…] | stop PROGRAM | start PROGRAM \
                | inside NODE -- … | logs",
    what: "Starts and stops a real Kubernetes of two nodes on this machine, and runs kubectl and helm on it.",
    why: "Its programs are built once per machine, in about 12 minutes; after that it is up in about 15 s. It runs until \
          down, which leaves nothing behind. load-images without files takes those of cargo xtask image; stop and start \
          kill a program of the control plane (etcd, kube-apiserver, …) and start it again.",
    example: "cargo xtask cluster up\ncargo xtask cluster kubectl get pods -A",
    run,
};

fn run(mut arguments: Vec<String>) -> Result<ExitCode> {
    let name = take_name(&mut arguments)?;
    let Some(command) = arguments.first().cloned() else {
        bail!("what? {}", COMMAND.arguments);
    };
    let rest = arguments.split_off(1);
    match command.as_str() {
        "up" => up(&name),
        "kubectl" | "helm" => on_cluster(&command, &name, &rest),
        "load-images" => {
            let files = if rest.is_empty() { image::archives()? } else { absolute(&rest)? };
            host::become_program(weft_cluster(&name)?.arg(command).args(files))
        }
        "down" | "status" | "stop" | "start" | "inside" | "logs" => {
            host::become_program(weft_cluster(&name)?.arg(command).args(rest))
        }
        other => bail!("cluster has no command {other:?}; there are: {}", COMMAND.arguments),
    }
}

fn up(name: &str) -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
    let programs = prepare(&mut steps)?;
    println!("==> cluster: it runs until cargo xtask cluster down");
    let mut command = host::privileged(program(), "creating namespaces")?;
    command.args(["--name", name, "up", "--programs"]).arg(programs);
    host::become_program(&mut command)
}

/// Builds what a cluster needs, and returns the folder of Kubernetes' programs.
pub(crate) fn prepare(steps: &mut Steps) -> Result<PathBuf> {
    steps.step("C compiler", "for what is written in C", || debian::ensure(&debian::BUILD))?;
    let programs = kubernetes::prepare(steps)?;
    build::programs(steps, &["weft-cluster"], false)?;
    Ok(programs)
}

/// Replaces this process by kubectl or helm, as administrator of the cluster.
fn on_cluster(program: &str, name: &str, arguments: &[String]) -> Result<ExitCode> {
    let kubeconfig = kubernetes::kubeconfig(name);
    ensure!(kubeconfig.is_file(), "no cluster {name} is running: start it with `cargo xtask cluster up`");
    let program = kubernetes::program(program)?;
    let mut command = process::Command::new(&program);
    host::become_program(command.env("KUBECONFIG", kubeconfig).args(arguments))
}

/// weft-cluster as root, for a command that builds nothing.
fn weft_cluster(name: &str) -> Result<process::Command> {
    if !program().is_file() {
        build::programs(&mut Steps::default(), &["weft-cluster"], false)?;
    }
    let mut command = host::privileged_quietly(program(), "the cluster's namespaces")?;
    command.args(["--name", name]);
    Ok(command)
}

fn program() -> PathBuf {
    build::folder(false).join("weft-cluster")
}

fn take_name(arguments: &mut Vec<String>) -> Result<String> {
    if arguments.first().is_none_or(|first| first != "--name") {
        return Ok(kubernetes::DEFAULT_NAME.to_owned());
    }
    ensure!(arguments.len() > 1, "--name needs a name");
    arguments.remove(0);
    Ok(arguments.remove(0))
}

fn absolute(files: &[String]) -> Result<Vec<PathBuf>> {
    files.iter().map(|file| fs::canonicalize(file).with_context(|| file.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_first() {
        let mut arguments: Vec<String> = ["--name", "x", "up"].map(str::to_owned).into();
        assert_eq!(take_name(&mut arguments).expect("a name"), "x");
        assert_eq!(arguments, ["up"]);
        assert_eq!(take_name(&mut arguments).expect("the default"), "dev");
        assert!(take_name(&mut vec!["--name".to_owned()]).is_err());
    }
}
