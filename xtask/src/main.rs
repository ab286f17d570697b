//! The commands of `cargo xtask`.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod buildah;
mod cluster;
mod debian;
mod doctor;
mod ebpf;
mod exec;
mod frontend;
mod grafana;
mod host;
mod image;
mod kernels;
mod kubernetes;
mod lint;
mod run;
mod steps;
mod test;
mod toolchain;

use std::{env, process::ExitCode};

use anyhow::Result;

/// A command, as the list of commands shows it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    what: &'static str,
    why: &'static str,
    /// One on each line; the list of commands shows the first.
    example: &'static str,
    run: fn(Vec<String>) -> Result<ExitCode>,
}

const COMMANDS: [Command; 10] = [
    run::COMMAND,
    exec::COMMAND,
    cluster::COMMAND,
    image::COMMAND,
    test::COMMAND,
    bench::COMMAND,
    grafana::COMMAND,
    build::COMMAND,
    lint::COMMAND,
    doctor::COMMAND,
];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        guide();
        return ExitCode::SUCCESS;
    };
    let arguments: Vec<String> = arguments.collect();
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        match arguments.first().and_then(|name| find(name)) {
            Some(command) => help(command),
            None => guide(),
        }
        return ExitCode::SUCCESS;
    }
    let Some(command) = find(&name) else {
        eprintln!("cargo xtask has no command {name:?}\n");
        guide();
        return ExitCode::from(2);
    };
    // Arguments after `--` are another program's.
    let own = arguments.iter().take_while(|argument| *argument != "--");
    if own.into_iter().any(|argument| argument == "--help" || argument == "-h") {
        help(command);
        return ExitCode::SUCCESS;
    }
    (command.run)(arguments).unwrap_or_else(|error| {
        eprintln!("\ncargo xtask {name}: {error:#}");
        ExitCode::FAILURE
    })
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn guide() {
    println!("weft: a service mesh without sidecars. cargo xtask COMMAND does everything:\n");
    for command in &COMMANDS {
        println!("  {:<8}{}", command.name, command.what);
        println!("  {:<8}{}", "", command.why);
        println!("  {:<8}$ {}\n", "", command.example.lines().next().unwrap_or_default());
    }
    println!(
        "Commands install what is missing (compilers, Debian packages) and say so. They use sudo where root is needed."
    );
    println!("More about one command: cargo xtask help COMMAND");
}

fn help(command: &Command) {
    println!("cargo xtask {} {}\n", command.name, command.arguments);
    println!("{}\n{}\n", command.what, command.why);
    for example in command.example.lines() {
        println!("Example: {example}");
    }
}
