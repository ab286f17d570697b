//! `weft viz`: shows what happens in the mesh, as weft-viz sees it.

mod access;
mod authz;
mod dashboard;
mod edges;
mod format;
mod install;
mod json;
mod list;
mod notes;
mod options;
mod problems;
mod resource;
#[cfg(test)]
mod rights;
mod routes;
mod selector;
mod sides;
mod stat;
mod table;
mod tap;
mod top;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use self::{
    access::{Viz, on_vm, vm_instead_of_cluster},
    options::VizOptions,
};
use crate::{check, global::Global};

/// Show what happens in the mesh: figures, calls, connections, the dashboard
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Install weft-viz, wait until it works, and open the dashboard
  weft viz install | kubectl apply -f -
  weft viz check
  weft viz dashboard

  # What is wrong now?
  weft viz problems

  # Which deployment fails, and which calls are it?
  weft viz stat deploy -n emojivoto
  weft viz tap deploy/voting -n emojivoto

docs/viz.md explains every command.")]
pub(crate) struct VizArgs {
    #[command(flatten)]
    options: VizOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Check(check::VizCheckArgs),
    Dashboard(dashboard::DashboardArgs),
    Problems(problems::ProblemsArgs),
    Stat(stat::StatArgs),
    StatInbound(sides::StatInboundArgs),
    StatOutbound(sides::StatOutboundArgs),
    Routes(routes::RoutesArgs),
    Edges(edges::EdgesArgs),
    Authz(authz::AuthzArgs),
    Tap(tap::TapArgs),
    Top(top::TopArgs),
    List(list::ListArgs),
}

pub(crate) async fn run(global: &Global, args: VizArgs) -> Result<ExitCode> {
    let VizArgs { options, command } = args;
    match command {
        Command::Install(args) => install::install(global, &options, &args).await,
        Command::Uninstall(args) => install::uninstall(global, &options, &args).await,
        Command::Check(args) => return check::viz_check(global, &options, &args).await,
        Command::Dashboard(args) => dashboard::dashboard(global, &options, &args).await,
        Command::Problems(args) => problems::problems(global, &options, &args).await,
        Command::Stat(args) => stat::stat(global, &options, &args).await,
        Command::StatInbound(args) => sides::inbound(global, &options, &args).await,
        Command::StatOutbound(args) => sides::outbound(global, &options, &args).await,
        Command::Routes(args) => routes::routes(global, &options, &args).await,
        Command::Edges(args) => edges::edges(global, &options, &args).await,
        Command::Authz(args) => authz::authz(global, &options, &args).await,
        Command::Tap(args) => tap::tap(global, &options, &args).await,
        Command::Top(args) => top::top(global, &options, &args).await,
        Command::List(args) => list::list(global, &options, &args).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
