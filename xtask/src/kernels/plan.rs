//! The steps that an emulated machine takes, and the results that are expected.

use super::{Extent, Role};

/// A shell command and its expected result.
pub(super) struct Step {
    /// A word: its column in the table.
    pub(super) name: &'static str,
    pub(super) command: String,
    pub(super) expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    /// It ends with 0.
    Success,
    /// It ends with 0, at least one scenario ran, and a line contains this, if it is not empty.
    Scenarios(&'static str),
    /// It ends with another code, and with a line that contains this.
    Refusal(&'static str),
}

/// The columns of the matrix: what is run for each.
const SMOKE: [(&str, &str); 8] = [
    ("mtls", "first_request::crosses_the_nodes_by_mtls"),
    ("no-plaintext", "wire::no_plaintext_between_nodes"),
    ("same-node", "wire::same_node_stays_off_the_wire"),
    ("fail-closed", "restart::kill_fail_closed"),
    ("fail-open", "restart::kill_fail_open"),
    ("recovery", "restart::recovery"),
    ("direct", "direct::after_the_first_connection"),
    ("forgery", "direct::stolen_address_while_connecting"),
];
/// Depends on the kernel: a line of the scenario must contain this.
const SPLICING: (&str, &str) = ("splicing", "splice::spliced_or_relayed");
const SPLICED: &str = "splicing: works";
const RELAYED: &str = "splicing: relayed, ";

/// weft's words for the version that it needs, when it refuses to run.
const REFUSAL: &str = "weft needs Linux 6.1 or newer";

const CHECK: &str = "/weft/target/debug/weft-proxy check";
const SCENARIOS: &str = "/weft/target/debug/deps/scenarios";

/// The steps for a kernel.
pub(super) fn steps(role: Role, extent: Extent<'_>) -> Vec<Step> {
    let step = |name, command, expected| Step { name, command, expected };
    let spliced = match role {
        Role::TooOld => return vec![step("refused", CHECK.to_owned(), Expected::Refusal(REFUSAL))],
        Role::Relays => RELAYED,
        Role::Splices => SPLICED,
    };
    let mut steps = vec![step("loads", CHECK.to_owned(), Expected::Success)];
    let one = |name, scenario: &str, says| {
        step(name, format!("{SCENARIOS} --exact '{scenario}'"), Expected::Scenarios(says))
    };
    match extent {
        Extent::Loads => {}
        Extent::Smoke => {
            steps.extend(SMOKE.iter().map(|(name, scenario)| one(name, scenario, "")));
            steps.push(one(SPLICING.0, SPLICING.1, spliced));
        }
        Extent::Filter(filter) => {
            steps.push(step("scenarios", format!("{SCENARIOS} '{filter}'"), Expected::Scenarios("")));
        }
    }
    steps
}

/// Whether it is safe inside a shell's quotes. Names of scenarios have no other characters.
pub(super) fn is_plain(filter: &str) -> bool {
    filter.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// The steps in the format of the machine's init: a name, a blank, a command.
pub(super) fn text(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("{} {}\n", step.name, step.command)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_names() {
        assert!(is_plain("restart::kill_fail_closed"));
        assert!(!is_plain("x'; poweroff '"));
    }

    #[test]
    fn a_filter_takes_the_place_of_the_smoke_tests() {
        assert_eq!(steps(Role::Splices, Extent::Loads).len(), 1);
        assert_eq!(steps(Role::Splices, Extent::Smoke).len(), 1 + SMOKE.len() + 1);
        let filtered = text(&steps(Role::Splices, Extent::Filter("wire::")));
        assert_eq!(filtered, format!("loads {CHECK}\nscenarios {SCENARIOS} 'wire::'\n"));
        assert_eq!(steps(Role::TooOld, Extent::Smoke)[0].expected, Expected::Refusal(REFUSAL));
    }

    #[test]
    fn a_kernel_has_to_splice_or_to_say_why_not() {
        let last = |role| steps(role, Extent::Smoke).pop().expect("a step").expected;
        assert_eq!(last(Role::Splices), Expected::Scenarios(SPLICED));
        assert_eq!(last(Role::Relays), Expected::Scenarios(RELAYED));
    }
}
