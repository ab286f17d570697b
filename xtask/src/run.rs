//! `cargo xtask run`: builds weft and starts a small cluster on this machine.

mod kubernetes;

use std::process::ExitCode;

use anyhow::Result;

use crate::{Command, build, debian, doctor, host, steps::Steps};

pub(crate) const COMMAND: Command = Command {
    name: "run",
    arguments: "[--once] [--manifests DIR] [--forward NAMESPACE/SERVICE:PORT] [--no-viz] [--release]\n       \
                cargo xtask run --kubernetes | --kubeconfig FILE [--once] [--release]",
    what: "Starts a small cluster in network namespaces: two nodes, the control plane, a demo and the dashboard to open \
           in a browser; shows live tables.",
    why: "The tables show each workload's success rate, latency and connections, what fails, and who talks to whom and \
          whether it is secured. --once checks that and ends. --no-viz leaves out the dashboard and Prometheus. Ctrl-C \
          stops it and leaves nothing behind. --kubernetes does the same on a real Kubernetes of two nodes, by the \
          quick start of README.md; --kubeconfig on a cluster of yours whose nodes have weft's images, from which \
          Ctrl-C removes what was installed.",
    example: "cargo xtask run --once\ncargo xtask run --kubernetes",
    run,
};

fn run(mut arguments: Vec<String>) -> Result<ExitCode> {
    if kubernetes::is_wanted(&arguments) {
        return kubernetes::run(arguments);
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--release");
    let release = arguments.len() < before;

    let mut steps = Steps::default();
    steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
    let has_viz = !arguments.iter().any(|argument| argument == "--no-viz");
    steps.step("Debian packages", "tools that set up the pods' networks; Prometheus", || {
        debian::ensure(&debian::RUN)?;
        if has_viz { debian::ensure(&debian::VIZ) } else { Ok(()) }
    })?;
    build::prepare(&mut steps)?;
    build::programs(&mut steps, &build::PROGRAMS, release)?;

    steps.print_times();
    println!("==> run: the cluster runs until Ctrl-C; with --once, until its traffic is checked");
    let mut vm = host::privileged(build::folder(release).join("weft-vm"), "creating network namespaces")?;
    host::become_program(vm.arg("run").args(arguments))
}
