//! The report on stderr: what was done to each object, and why not.

use std::fmt::Write;

use super::workload::Workload;
use crate::terminal::{self, green, stderr_colours, yellow};

/// What is to be said about one object.
pub(super) struct Entry {
    kind: String,
    name: String,
    host_network: bool,
    sidecar: bool,
    disabled: bool,
    udp: bool,
    /// The annotation is there now.
    pub(super) done: bool,
}

impl Entry {
    pub(super) fn new(workload: &Workload<'_>) -> Self {
        Self {
            kind: workload.kind.clone(),
            name: workload.name.clone(),
            host_network: workload.uses_host_network(),
            sidecar: workload.has_sidecar(),
            disabled: workload.is_disabled(),
            udp: workload.has_udp_ports(),
            done: false,
        }
    }

    /// Nothing speaks against meshing it.
    pub(super) fn is_injectable(&self) -> bool {
        !self.host_network && !self.sidecar && !self.disabled
    }

    fn line(&self, done: &str) -> String {
        if self.kind.is_empty() {
            return "document missing \"kind\" field, skipped\n".to_owned();
        }
        format!("{} \"{}\" {}\n", self.kind, self.name, if self.done { done } else { "skipped" })
    }
}

/// The report of `weft inject`.
pub(super) fn injected(entries: &[Entry], verbose: bool) {
    let (warning, ok) = (yellow("‼", stderr_colours()), green("√", stderr_colours()));
    let names = |which: fn(&Entry) -> bool| -> Vec<String> {
        entries
            .iter()
            .filter(|entry| which(entry))
            .map(|entry| format!("{}/{}", entry.kind, entry.name))
            .collect()
    };
    let mut out = String::from("\n");
    let mut warned = verbose;
    let mut say = |bad: bool, problem: String, fine: &str| {
        warned |= bad;
        if bad {
            let _ = writeln!(out, "{warning} {problem}");
        } else if verbose {
            let _ = writeln!(out, "{ok} {fine}");
        }
    };
    let hosts = names(|entry| entry.host_network);
    say(
        !hosts.is_empty(),
        format!("\"hostNetwork: true\" detected in {}", hosts.join(", ")),
        "pods do not use host networking",
    );
    let sidecars = names(|entry| entry.sidecar);
    say(
        !sidecars.is_empty(),
        format!("known 3rd party sidecar detected in {}", sidecars.join(", ")),
        "pods do not have a 3rd party proxy or initContainer already injected",
    );
    let disabled = names(|entry| entry.disabled);
    say(
        !disabled.is_empty(),
        format!("\"linkerd.io/inject: disabled\" annotation set on {}", disabled.join(", ")),
        "pods are not annotated to disable injection",
    );
    say(
        !entries.iter().any(|entry| entry.done),
        "no supported objects found".to_owned(),
        "at least one resource can be injected or annotated",
    );
    let udp = names(|entry| entry.udp && entry.done);
    say(
        !udp.is_empty(),
        format!("{} {} \"protocol: UDP\"", udp.join(", "), if udp.len() > 1 { "use" } else { "uses" }),
        "pod specs do not include UDP ports",
    );
    if warned {
        out.push('\n');
    }
    out.extend(entries.iter().map(|entry| entry.line("injected")));
    terminal::say(&out);
}

/// The report of `weft uninject`.
pub(super) fn uninjected(entries: &[Entry]) {
    let mut out = String::from("\n");
    out.extend(entries.iter().map(|entry| entry.line("uninjected")));
    terminal::say(&out);
}
