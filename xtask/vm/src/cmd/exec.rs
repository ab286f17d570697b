//! `weft-vm exec`: runs a program inside a pod of the running cluster.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, bail};
use weft_vm::{Layout, PodFile, PodKey};

use super::run::CLUSTER;

/// Arguments of `weft-vm exec`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pod, as NAMESPACE/POD
    pod: String,
    /// Print the path of the pod's network namespace instead
    #[arg(long)]
    netns: bool,
    /// The name of the cluster
    #[arg(long, default_value = CLUSTER)]
    cluster: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Replaces this process by the program.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let pod = PodFile::find(&Layout::new(&args.cluster)?, &PodKey::parse(&args.pod))?;
    if args.netns {
        println!("{}", pod.netns.display());
        return Ok(ExitCode::SUCCESS);
    }
    let [program, rest @ ..] = args.command.as_slice() else {
        bail!("the command is missing; example: weft-vm exec {} -- ip address", args.pod);
    };
    let mut command = pod.place().command(program)?;
    command.args(rest).envs(pod.env);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {} in {}", program.display(), args.pod))
}
