//! The runner of scenarios.
//!
//! A scenario is a sentence and a function. The scenarios of an [`Area`] share a cluster as long as they succeed: after
//! a failure the logs are kept and the cluster is stopped, so that the next scenario starts on a new one. A scenario
//! that needs something this machine lacks ends with [`skip`]: it is printed and counted as ignored, with the reason.

mod area;
mod skip;
mod watchdog;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Uid,
};

use self::area::Selection;
pub use self::{
    area::Area,
    skip::{is_skip, skip},
};

/// Runs the scenarios that the command line selects.
pub fn main(areas: Vec<Area>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Scenarios load the whole machine and measure it: one at a time, unless told otherwise.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    if arguments.list {
        return list(&arguments, &areas);
    }
    if !Uid::effective().is_root() {
        eprintln!(
            "scenarios create network namespaces and load eBPF programs: run them as root (cargo xtask test)"
        );
        return ExitCode::FAILURE;
    }
    if let Err(e) = raise_descriptor_limit() {
        eprintln!("cannot raise the limit of open files ({e}): scenarios with many connections will fail");
    }
    let areas: Vec<_> = areas.into_iter().map(Arc::new).collect();
    let mut trials = Vec::new();
    for area in &areas {
        let selected = Selection::of(area, &arguments);
        for index in 0..area.scenarios.len() {
            let (area, selected) = (area.clone(), selected.clone());
            let name = area.full_name(index);
            trials.push(Trial::ignorable_test(name, move || area.run(index, &selected).map_err(Into::into)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    areas.iter().for_each(|area| area.end());
    conclusion.exit_code()
}

/// This process has both ends of thousands of connections.
fn raise_descriptor_limit() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

fn list(arguments: &Arguments, areas: &[Area]) -> ExitCode {
    for area in areas {
        for (index, scenario) in area.scenarios.iter().enumerate() {
            if area::selected(arguments, &area.full_name(index)) {
                println!("{}: test\n    {}", area.full_name(index), scenario.proves);
            }
        }
    }
    ExitCode::SUCCESS
}
