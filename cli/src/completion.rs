//! `weft completion`: prints a completion script for a shell.

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

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
pub(crate) fn run(args: &CompletionArgs, command: &mut Command) {
    let shell = match args.shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    generate(shell, command, "weft", &mut std::io::stdout());
}
