//! `weft check`: looks for what keeps weft from working, and says how to mend it.

mod categories;
mod cluster;
mod model;
mod owners;
mod print;
mod run;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::model::{Category, CheckResult, Outcome};
use crate::{
    global::Global,
    viz::{VizOptions, on_vm},
};

/// Check whether weft can be installed, or whether it works
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Can weft be installed on this cluster?
  weft check --pre

  # Does the control plane work? Waits until it does, at most five minutes
  weft check

  # Are the pods of a namespace in the mesh?
  weft -n emojivoto check --proxy

The exit code is 1 if a check failed (×), and 0 if there are only warnings (‼).
docs/check.md explains every check.")]
pub(crate) struct CheckArgs {
    /// Whether weft can be installed
    #[arg(long)]
    pre: bool,
    /// Whether the custom resource definitions are installed
    #[arg(long, conflicts_with_all = ["pre", "proxy"])]
    crds: bool,
    /// Whether the pods in the namespace (-n), or in all namespaces, are in the mesh
    #[arg(long, conflicts_with = "pre")]
    proxy: bool,
    /// How long to wait for what takes its time, as in 300s or 5m
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration)]
    wait: Duration,
    /// The version that the control plane and the node proxies should have; otherwise that of this tool
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<String>,
    /// The format of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Table,
    /// Only what is not well
    Short,
    Json,
}

pub(crate) async fn check(global: &Global, args: &CheckArgs) -> Result<ExitCode> {
    let plan = run::Plan {
        categories: categories::selected(args, global.namespace.is_some()),
        extensions: categories::of_extensions(args, global.namespace.is_some()),
    };
    let expected_version = args.expected_version.clone();
    let options = options(global, VizOptions::default(), expected_version);
    conclude(plan, options, args.wait, args.output).await
}

/// Check whether weft-viz works
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Waits until weft-viz works, at most five minutes
  weft viz check

  # Are the pods of a namespace seen by it?
  weft -n emojivoto viz check --proxy

The exit code is 1 if a check failed (×), and 0 if there are only warnings (‼).
`weft check` does the same after its own checks. docs/check.md explains every check.")]
pub(crate) struct VizCheckArgs {
    /// The pods in the namespace (-n), or in all namespaces, too
    #[arg(long)]
    proxy: bool,
    /// How long to wait for what takes its time, as in 300s or 5m
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration)]
    wait: Duration,
    /// The format of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

pub(crate) async fn viz_check(global: &Global, viz: &VizOptions, args: &VizCheckArgs) -> Result<ExitCode> {
    if viz.api_addr.is_some() {
        bail!("the checks look at the cluster around weft-viz, too: leave out --api-addr");
    }
    let on_vm = on_vm(global, viz);
    let categories = categories::of_viz(on_vm, args.proxy, global.namespace.is_some());
    let plan = run::Plan { categories, extensions: Vec::new() };
    conclude(plan, options(global, viz.clone(), None), args.wait, args.output).await
}

fn options(global: &Global, viz: VizOptions, expected_version: Option<String>) -> cluster::Options {
    let expected_version = expected_version.unwrap_or_else(|| crate::version::CLIENT.to_owned());
    cluster::Options { global: global.clone(), viz, expected_version }
}

/// Runs the checks and prints what they found.
async fn conclude(
    plan: run::Plan,
    options: cluster::Options,
    wait: Duration,
    output: Output,
) -> Result<ExitCode> {
    let printer = print::Printer::new(output);
    let results = run::run(plan, options, wait, &printer).await;
    printer.finish(&results)?;
    let failed = results
        .iter()
        .flat_map(|(_, results)| results)
        .any(|result| matches!(result.outcome, Outcome::Error(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A number with s, m or h; without one, seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if seconds > 0 && number <= 24 * 3600 => Ok(Duration::from_secs(number * seconds)),
        _ => Err("write a duration such as 300s or 5m".to_owned()),
    }
}

/// Results by category.
type Results = Vec<(Category, Vec<CheckResult>)>;
