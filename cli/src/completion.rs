//! `weft completion`: prints a completion script for a shell.

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

use crate::terminal::print;

/// Print a script that completes weft's commands and options in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # bash, for the current shell
  source <(weft completion bash)

  # zsh, for all shells
  weft completion zsh > \"${fpath[1]}/_weft\"

  # fish, for all shells
  weft completion fish > ~/.config/fish/completions/weft.fish")]
pub(crate) struct CompletionArgs {
    shell: SupportedShell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SupportedShell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for `command`, which is weft with all its commands.
pub(crate) fn run(args: &CompletionArgs, command: &mut Command) -> anyhow::Result<()> {
    let shell = match args.shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, command, "weft", &mut script);
    print(&String::from_utf8_lossy(&script))
}
