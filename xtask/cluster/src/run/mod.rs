//! The quick start on a cluster, and live tables of what then happens there.
//!
//! The cluster is one of this machine, which is started and removed, or one of the user's own, on which what was
//! installed is removed again.

mod api;
mod guard;
mod proof;
mod quick_start;
mod tools;
mod view;

use std::{
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use weft_vm::KubectlForward;

use self::{
    api::Api,
    guard::Guard,
    quick_start::QuickStart,
    tools::{Tool, Tools},
    view::View,
};
use crate::{
    down, images,
    layout::{Layout, NODES},
    say::say,
    up, wait,
};

pub(crate) use self::guard::wait_for_the_end;

/// The demo's page.
const SERVICE: &str = "web-svc";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Start a cluster from the folder with Kubernetes' programs and images
    #[arg(long, required_unless_present = "kubeconfig", conflicts_with = "kubeconfig", requires = "images")]
    programs: Option<PathBuf>,
    /// Archives of weft's images, for that cluster
    #[arg(long, num_args = 1..)]
    images: Vec<PathBuf>,
    /// Use the current context of this file instead
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The command-line tool weft
    #[arg(long)]
    weft: PathBuf,
    /// Wait until the metrics prove meshed traffic and failing votes, print the tables and end
    #[arg(long)]
    once: bool,
}

impl Args {
    /// Whether a cluster is started, which needs root.
    pub(crate) fn starts_a_cluster(&self) -> bool {
        self.kubeconfig.is_none()
    }
}

/// Runs until Ctrl-C, or until the proof with `--once`.
pub(crate) fn run(layout: &Layout, args: Args) -> Result<ExitCode> {
    ensure!(args.weft.is_file(), "there is no {}", args.weft.display());
    let result = match (&args.programs, &args.kubeconfig) {
        (Some(programs), None) => {
            ensure!(
                !layout.root.exists(),
                "the cluster {0} exists: remove it with `cargo xtask cluster --name {0} down`",
                layout.name
            );
            on_own_cluster(layout, programs, &args)
        }
        (_, Some(kubeconfig)) => on_users_cluster(kubeconfig, &args),
        (None, None) => bail!("--programs or --kubeconfig is missing"),
    };
    match result {
        Err(_) if wait::check().is_err() => {
            say(format_args!("interrupted"));
            // As a shell reports SIGINT.
            Ok(ExitCode::from(130))
        }
        result => result,
    }
}

fn on_own_cluster(layout: &Layout, programs: &Path, args: &Args) -> Result<ExitCode> {
    // Before any thread starts: what is started later must not get the signals either.
    let guard = Guard::start(layout)?;
    let result = start_and_view(layout, programs, args);
    // A start that has failed has removed its own.
    let removed = if layout.root.exists() { down::down(layout) } else { Ok(()) };
    drop(guard);
    let code = result?;
    removed.map(|()| code)
}

fn start_and_view(layout: &Layout, programs: &Path, args: &Args) -> Result<ExitCode> {
    up::up(layout, programs)?;
    say(format_args!("\nweft's images:"));
    images::load(layout, &args.images)?;
    let tools = Tools::new(programs.join("bin/kubectl"), args.weft.clone(), layout.kubeconfig());
    let about = format!(
        "  kubectl  cargo xtask cluster --name {} kubectl get pods -A\n  logs     {}\n",
        layout.name,
        layout.control_logs().display()
    );
    QuickStart::on(NODES).install(&tools)?;
    view(&tools, &about, args.once)
}

fn on_users_cluster(kubeconfig: &Path, args: &Args) -> Result<ExitCode> {
    wait::handle_signals()?;
    let kubeconfig = kubeconfig.canonicalize().with_context(|| kubeconfig.display().to_string())?;
    let tools = Tools::new("kubectl".into(), args.weft.clone(), kubeconfig);
    let mut made = QuickStart::default();
    let about = format!("  kubectl  kubectl --kubeconfig {} get pods -A\n", tools.kubeconfig().display());
    let result = made.install(&tools).and_then(|()| view(&tools, &about, args.once));
    let removed = made.remove(&tools.uninterruptible());
    let code = result?;
    removed.map(|()| code)
}

fn view(tools: &Tools, about: &str, once: bool) -> Result<ExitCode> {
    let begun = Instant::now();
    let api = Api::connect(tools.kubeconfig())?;
    // What kubectl complains about would be in the middle of the screen.
    let mut kubectl = tools.program(Tool::Kubectl);
    kubectl.stderr(Stdio::null());
    let forward = KubectlForward::start(kubectl, quick_start::NAMESPACE, &format!("svc/{SERVICE}"), 80)?;
    let header = format!(
        "weft on Kubernetes\n  browser  http://{}   ({}/{})\n{about}  Ctrl-C stops it and removes what it has made.\n",
        forward.address(),
        quick_start::NAMESPACE,
        SERVICE,
    );
    let mut view = View::new(api, header);
    if once { view.once(begun) } else { view.until_signal() }
}
