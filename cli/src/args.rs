//! The command line: all commands.

use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

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

impl Command {
    /// It asks the API server of a cluster.
    pub(crate) fn needs_cluster(&self) -> bool {
        !matches!(
            self,
            Self::Viz(_) | Self::Version(_) | Self::Inject(_) | Self::Uninject(_) | Self::Completion(_)
        )
    }
}

impl Cli {
    /// The command line of this process. A mistake in it ends the process.
    pub(crate) fn from_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| match of_viz(&error) {
            Some(word) => Self::command()
                .error(
                    ErrorKind::InvalidSubcommand,
                    format!("`{word}` is a command of `weft viz`: use `weft viz {word}`"),
                )
                .exit(),
            None => error.exit(),
        })
    }
}

/// The word that was taken for a command, if it is one of `weft viz`. Linkerd once had some of these without `viz`.
fn of_viz(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let cli = Cli::command();
    let is_of_viz = cli.find_subcommand("viz")?.find_subcommand(word).is_some();
    (is_of_viz && cli.find_subcommand(word).is_none()).then(|| word.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(words: &[&str]) -> Option<String> {
        of_viz(&Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn commands_of_viz_are_found_without_viz() {
        for word in ["dashboard", "edges", "routes", "stat", "tap", "top", "problems"] {
            assert_eq!(hint(&["weft", word, "deploy"]).as_deref(), Some(word));
        }
        assert_eq!(hint(&["weft", "-n", "shop", "stat"]).as_deref(), Some("stat"));
    }

    #[test]
    fn other_mistakes_are_told_as_they_are() {
        assert_eq!(hint(&["weft", "stt"]), None);
        assert_eq!(hint(&["weft", "viz", "stt"]), None);
    }
}
