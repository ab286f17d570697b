//! Checks that the documents are complete: names that users rely on are an interface, and each has its line there.

use clap::{Command, CommandFactory};
use weft_common::Outcome;
use weft_proxy::{config::Cli, refusal::Reason};

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const METRICS: &str = include_str!("../../docs/metrics.md");

/// The cells of all tables, without the marks of code.
fn rows(document: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
    };
    document.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn every_outcome_is_documented() {
    let rows = rows(METRICS);
    for (outcome, hook, name) in Outcome::ALL {
        assert!(
            rows.iter().any(|row| row[0] == *hook && row[1] == *name),
            "docs/metrics.md has no line for {outcome:?}: | `{hook}` | `{name}` | …"
        );
    }
    // And nothing is documented that does not exist.
    for row in rows.iter().filter(|row| ["connect", "sockops", "sk_lookup"].contains(&row[0].as_str())) {
        let known = Outcome::ALL.iter().any(|(_, hook, name)| row[0] == *hook && row[1] == *name);
        assert!(known, "docs/metrics.md has an outcome that does not exist: {row:?}");
    }
}

#[test]
fn every_reason_for_a_refusal_is_documented() {
    let rows = rows(METRICS);
    for reason in Reason::ALL {
        let direction = |row: &Vec<String>| ["both", "inbound", "outbound"].contains(&row[1].as_str());
        assert!(
            rows.iter().any(|row| row[0] == reason.as_str() && direction(row) && row.len() == 4),
            "docs/metrics.md has no line for {reason:?}: | `{reason}` | direction | meaning | what to do |"
        );
    }
}

#[test]
fn every_flag_is_documented_with_variable_and_default() {
    let rows = rows(CONFIGURATION);
    let cli = Cli::command();
    for flag in cli.get_subcommands().flat_map(Command::get_arguments) {
        let Some(long) = flag.get_long().filter(|long| *long != "help") else { continue };
        let (long, default) = (format!("--{long}"), flag.get_default_values());
        let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(row) = rows.iter().find(|row| row[0] == long && row[1] == variable) else {
            panic!("docs/configuration.md has no line: | `{long}` | `{variable}` | …");
        };
        let default = default.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
        let documented = match default.as_str() {
            "" if flag.is_required_set() => row[2] == "required",
            // A switch, or something that depends on the machine.
            "" | "false" => !row[2].is_empty(),
            _ if long == "--cgroup" => !row[2].is_empty(),
            default => row[2].starts_with(default),
        };
        assert!(
            documented,
            "docs/configuration.md says that {long} is {:?} by default; it is {default:?}",
            row[2]
        );
    }
}
