//! `cargo xtask exec`: runs a program inside a pod of the running cluster.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Result;

use crate::{Command, build, host, steps::Steps};

pub(crate) const COMMAND: Command = Command {
    name: "exec",
    arguments: "NAMESPACE/POD [--netns] -- PROGRAM [ARGUMENT…]",
    what: "Runs a program inside a pod of the cluster that `cargo xtask run` has started in another shell.",
    why: "Input, output and exit code are those of the program. --netns prints the path of the pod's network namespace instead.",
    example: "cargo xtask exec demo/client -- weft-demo client --target web.demo:9090",
    run,
};

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let program = match newest() {
        Some(program) => program,
        None => {
            let mut steps = Steps::default();
            build::prepare(&mut steps)?;
            build::programs(&mut steps, &build::PROGRAMS, false)?;
            build::folder(false).join("weft-vm")
        }
    };
    let mut vm = host::privileged_quietly(program, "entering a pod")?;
    host::become_program(vm.arg("exec").args(arguments))
}

/// The program that was built last: the cluster may run a release build.
fn newest() -> Option<PathBuf> {
    let files = [false, true].map(|release| build::folder(release).join("weft-vm"));
    let built = |file: &PathBuf| fs::metadata(file).and_then(|data| data.modified()).ok();
    files.into_iter().filter(|file| built(file).is_some()).max_by_key(built)
}
