//! The command line: all commands.

use clap::{Parser, Subcommand};

use crate::{authz, check, completion, diagnostics, global::Global, identity, inject, install, version, viz};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::CheckArgs),
    Install(install::InstallArgs),
    Upgrade(install::UpgradeArgs),
    Uninstall(install::UninstallArgs),
    Prune(install::PruneArgs),
    Inject(inject::InjectArgs),
    Uninject(inject::UninjectArgs),
    Identity(identity::IdentityArgs),
    Authz(authz::AuthzArgs),
    Diagnostics(diagnostics::DiagnosticsArgs),
    Viz(viz::VizArgs),
    Version(version::VersionArgs),
    Completion(completion::CompletionArgs),
}
