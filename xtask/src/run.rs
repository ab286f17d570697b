//! How does one see weft work on this machine?

use std::process::ExitCode;

use anyhow::Result;

use crate::{Command, build, debian, doctor, host, steps::Steps};

pub(crate) const COMMAND: Command = Command {
    name: "run",
    arguments: "[--once] [--manifests DIR] [--release]",
    what: "Starts a small cluster in network namespaces: two nodes, the control plane, the demo; a live table.",
    why: "Shows who talks to whom and whether it is secured; --once proves it and ends; Ctrl-C leaves nothing behind.",
    example: "cargo xtask run --once",
    run,
};

fn run(mut arguments: Vec<String>) -> Result<ExitCode> {
    let before = arguments.len();
    arguments.retain(|argument| argument != "--release");
    let release = arguments.len() < before;

    let mut steps = Steps::default();
    steps.step("this machine", "what cannot be installed must be there", doctor::musts)?;
    steps.step("Debian programs", "they lay the networks of the pods", || debian::ensure(&debian::RUN))?;
    build::prepare(&mut steps)?;
    build::programs(&mut steps, release)?;

    println!("==> run: the cluster, until Ctrl-C (or --once is through)");
    let mut vm = host::privileged(build::folder(release).join("weft-vm"), "making network namespaces")?;
    host::become_program(vm.arg("run").args(arguments))
}
