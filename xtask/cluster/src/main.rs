//! weft-cluster: a real Kubernetes of two nodes on one machine, for tests and for trying weft.
//!
//! The control plane's programs run in a network namespace. Each node runs containerd, kubelet and kube-proxy in its
//! own network, PID, mount, UTS, IPC and cgroup namespaces, with its own root directory. Read [`up`] first.
#![forbid(unsafe_code)]

mod cgroups;
mod control;
mod down;
mod images;
mod kubectl;
mod launch;
mod layout;
mod lock;
mod logs;
mod network;
mod node;
mod pki;
mod run;
mod say;
mod status;
mod up;
mod wait;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use self::layout::Layout;

#[derive(Parser)]
#[command(name = "weft-cluster", version, about = "A real Kubernetes of two nodes on one machine")]
struct Cli {
    /// The cluster's name; several clusters can run side by side
    #[arg(long, global = true, default_value = layout::DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cluster, and return when its nodes are ready
    Up {
        /// The folder with Kubernetes' programs (bin) and the images that every node needs (images)
        #[arg(long)]
        programs: PathBuf,
    },
    /// Stop the cluster and remove everything of it
    Down,
    /// Show the nodes, the programs and how to use the cluster
    Status,
    /// Import image archives into every node
    LoadImages {
        /// OCI or Docker archives
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Stop one program of the control plane, as an outage would
    Stop { program: control::Program },
    /// Start a program of the control plane again
    Start { program: control::Program },
    /// Run a program inside a node: `inside weft-a -- ctr -n k8s.io containers ls`
    Inside {
        node: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Print the end of each program's log
    Logs,
    /// Go through the quick start, on a cluster that is started or on one of yours, and show live tables until Ctrl-C
    Run(run::Args),
    /// Remove the cluster when the process that has started this ends; `run` starts this
    #[command(hide = true)]
    Guard,
    /// Enter a cgroup and a network namespace, then become a program; `up` starts this
    #[command(hide = true)]
    Launch(launch::Args),
    /// Hold a node's namespaces; `up` starts this
    #[command(hide = true)]
    Node { node: String },
    /// Be the first process of a node; `node` starts this
    #[command(hide = true)]
    NodeInit { node: String },
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("weft-cluster: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    let needs_root = !matches!(&cli.command, Command::Run(args) if !args.starts_a_cluster());
    if needs_root && !nix::unistd::geteuid().is_root() {
        bail!("a cluster needs root for its namespaces: use `cargo xtask cluster`, or sudo");
    }
    let layout = Layout::new(&cli.name)?;
    match cli.command {
        Command::Up { programs } => up::up(&layout, &programs)?,
        Command::Down => down::down(&layout)?,
        Command::Status => return status::show(&layout),
        Command::LoadImages { files } => images::load(&layout, &files)?,
        Command::Stop { program } => control::stop(&layout, program)?,
        Command::Start { program } => control::start(&layout, program)?,
        Command::Inside { node, command } => return node::become_inside(&layout, &node, &command),
        Command::Logs => logs::print(&layout),
        Command::Run(args) => return run::run(&layout, args),
        Command::Guard => return run::wait_for_the_end(&layout),
        Command::Launch(args) => return launch::run(&args),
        Command::Node { node } => return node::keep(&layout, &node),
        Command::NodeInit { node } => return node::init(&layout, &node),
    }
    Ok(ExitCode::SUCCESS)
}
