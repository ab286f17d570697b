//! The options of all commands.

use std::path::PathBuf;

use clap::Args;

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
