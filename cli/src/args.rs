//! The command line: global options and commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{check, completion, diagnostics, inject, install, version};

/// weft adds mutual TLS, load balancing, metrics and policies to the pods of a Kubernetes cluster, without sidecars
#[derive(Debug, Parser)]
#[command(name = "weft", version, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  # Can weft be installed on this cluster?
  weft check --pre

  # Install it, and wait until it works
  weft install --crds | kubectl apply -f -
  weft install | kubectl apply -f -
  weft check

  # Add the deployments of a namespace to the mesh; their pods keep running
  kubectl get -n emojivoto deploy -o yaml | weft inject - | kubectl apply -f -
  weft -n emojivoto check --proxy";

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The namespace of weft's control plane
    #[arg(
        short = 'L',
        long,
        global = true,
        value_name = "NAMESPACE",
        env = "WEFT_NAMESPACE",
        default_value = "weft",
        alias = "linkerd-namespace",
        help_heading = "Cluster"
    )]
    pub(crate) control_plane_namespace: String,
    /// The namespace of what the command is about
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig to use; otherwise those in $KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// The user to act as
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Cluster")]
    pub(crate) impersonate: Option<String>,
    /// A group to act as; may be given several times
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "impersonate",
        help_heading = "Cluster"
    )]
    pub(crate) impersonate_groups: Vec<String>,
    /// Say more about what happens, on stderr
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::CheckArgs),
    Install(install::InstallArgs),
    Upgrade(install::UpgradeArgs),
    Uninstall(install::UninstallArgs),
    Prune(install::PruneArgs),
    Inject(inject::InjectArgs),
    Uninject(inject::UninjectArgs),
    Diagnostics(diagnostics::DiagnosticsArgs),
    Version(version::VersionArgs),
    Completion(completion::CompletionArgs),
}
