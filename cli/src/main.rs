//! weft's command-line tool.

// These macros panic if nobody reads the output any more; `terminal` has functions that do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod authz;
mod certificates;
mod chart;
mod check;
mod completion;
mod control;
mod diagnostics;
#[cfg(test)]
mod documents;
mod global;
mod identity;
mod inject;
mod install;
mod kubernetes;
mod terminal;
mod version;
mod viz;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::from_process();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start")),
    };
    let (global, needs_cluster) = (cli.global.clone(), cli.command.needs_cluster());
    let code = runtime.block_on(run(cli)).unwrap_or_else(|error| fail(&error));
    if code != ExitCode::SUCCESS
        && needs_cluster
        && let Some(vm) = viz::vm_instead_of_cluster(&global)
    {
        terminal::say(&format!(
            "The dev VM {vm} has no Kubernetes API: of weft's commands, only those of `weft viz` work with it, such as \
             `weft viz check`."
        ));
    }
    code
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Check(args) => return check::check(&global, &args).await,
        Command::Viz(args) => return viz::run(&global, args).await,
        Command::Version(args) => version::run(&global, &args).await,
        Command::Install(args) => install::install(&global, &args).await,
        Command::Upgrade(args) => install::upgrade(&global, &args).await,
        Command::Uninstall(args) => install::uninstall(&global, &args).await,
        Command::Prune(args) => install::prune(&global, &args).await,
        Command::Inject(args) => inject::inject(&global, &args),
        Command::Uninject(args) => inject::uninject(&args),
        Command::Identity(args) => identity::run(&global, &args).await,
        Command::Authz(args) => authz::run(&global, &args).await,
        Command::Diagnostics(args) => diagnostics::run(&global, &args).await,
        Command::Completion(args) => completion::run(&args, &mut Cli::command()),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    terminal::say(&format!("{} {error:#}", terminal::red("error:")));
    ExitCode::FAILURE
}
