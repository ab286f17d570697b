//! The weft-proxy command: serves all meshed pods of a node.

use std::process::ExitCode;

use clap::Parser;
use weft_proxy::{
    capture,
    config::{Cli, Command, Config},
    logging, run,
};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(config) => serve(*config),
        Command::Check => check(),
        Command::Ready { ready_file } => run::is_ready(&ready_file),
        Command::Cleanup { node, bpffs } => capture::cleanup(&bpffs, &node).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> anyhow::Result<()> {
    let report = capture::check();
    print!("{}", report.text);
    report.verdict?;
    println!("this kernel supports weft");
    Ok(())
}

fn serve(config: Config) -> anyhow::Result<()> {
    let level = logging::init(config.log_format, &config.log_level)?;
    logging::log_panics();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Connections have threads of their own; this runtime runs everything else. Two threads, so that nothing delays the
    // heartbeat.
    let runtime = runtime.enable_all().thread_name("weft-main").worker_threads(2).build()?;
    let result = runtime.block_on(run::run(config, level));
    // Tasks that still run after the drain are aborted, not awaited.
    runtime.shutdown_background();
    result
}
