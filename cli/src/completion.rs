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
    print(&script(args.shell, command))
}

fn script(shell: SupportedShell, command: &mut Command) -> String {
    let shell = match shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, command, "weft", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn the_script_of_each_shell_knows_all_commands() {
        for shell in SupportedShell::value_variants() {
            let script = script(*shell, &mut Cli::command());
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
        }
    }
}
