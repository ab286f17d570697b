//! Tests of the tool against a real API server, and of its charts against the real helm.
//!
//! They run in network, process and mount namespaces of their own, so that nothing of them stays.

#![allow(clippy::unwrap_used, reason = "to panic is how a test fails")]

mod api_server;
mod asking;
mod checks;
mod commands;
mod control;
mod failures;
mod helm;
mod lab;
mod lazy;
mod objects;
mod programs;
mod viz;
mod viz_failures;
mod viz_helm;
mod viz_objects;

use std::{env, os::unix::process::CommandExt, process::Command};

use libtest_mimic::{Arguments, Trial};

const INSIDE: &str = "WEFT_TEST_INSIDE_NAMESPACES";

fn main() {
    let mut arguments = Arguments::from_args();
    let programs = programs::find();
    if programs.is_ok() && !arguments.list && env::var_os(INSIDE).is_none() {
        let error = Command::new("unshare")
            .args(["--map-root-user", "--net", "--mount-proc", "--pid", "--fork", "--kill-child"])
            .arg(env::current_exe().expect("the test's own path"))
            .args(env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("cannot run unshare: {error}");
    }
    // They change one cluster.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    match programs {
        Ok(programs) => {
            trials.extend(helm::trials(&programs));
            trials.extend(viz_helm::trials(&programs));
            let lab = lazy::Lazy::new(programs);
            trials.extend(commands::trials(&lab));
            trials.extend(asking::trials(&lab));
            trials.extend(checks::trials(&lab));
            trials.extend(viz::trials(&lab));
        }
        Err(missing) => {
            println!("The tests against a real API server need programs: {missing}");
            trials.push(Trial::test("against_a_real_api_server", || Ok(())).with_ignored_flag(true));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
