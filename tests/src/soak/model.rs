//! The model of the soak test: decides which outcomes of a connection are correct.
//!
//! A connection must succeed, unless a fault that breaks it was active while it was open: then it may be refused or
//! reset. A wrong byte, an orderly end before the last byte and an answer from a pod that denies the client are always
//! violations.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    bodies,
    testbed::{Role, TestPod},
};
use crate::load;

/// What is disturbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The proxy of this node is stopped or was just started.
    Proxy(&'static str),
    /// This pod is replaced or its policy changes.
    Pod(&'static str),
    /// The wire between the nodes is cut.
    Wire,
    /// The control plane is away.
    Control,
    /// Proxies may not know recent changes of pods: the control plane was away and watches reconnect one by one.
    StaleEndpoints,
}

/// A connection that has ended.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) kind: &'static str,
    pub(super) source: TestPod,
    /// More than one for a service.
    pub(super) destinations: Vec<TestPod>,
    pub(super) port: u16,
    pub(super) begun: Instant,
    /// Whether success means that the server answered.
    pub(super) answered: bool,
    pub(super) result: io::Result<u64>,
}

#[derive(Default)]
pub(super) struct Model(Mutex<State>);

#[derive(Default)]
struct State {
    /// Each fault and its end; an active fault has none.
    faults: Vec<(Fault, Option<Instant>)>,
    /// Since when a pod denies everybody.
    denying: BTreeMap<&'static str, Instant>,
    /// Connections that failed at their client.
    failed: HashSet<u64>,
    /// Kind, source and port of the others.
    succeeded: HashMap<u64, (&'static str, &'static str, u16)>,
    /// Connections on which the server saw an orderly end too early.
    short: BTreeMap<u64, String>,
    totals: Totals,
    violations: Vec<String>,
    /// Requests that servers have processed and that must not be processed again.
    orders: HashSet<u64>,
    /// All requests that each server has processed.
    processed: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Connections by kind and outcome, as seen by clients and by servers.
    pub(super) by_kind: BTreeMap<(String, &'static str), u64>,
    pub(super) connections: u64,
    /// Of successful connections.
    pub(super) bytes: u64,
    pub(super) succeeded: u64,
    pub(super) refused: u64,
    pub(super) broken: u64,
    pub(super) violations: u64,
}

enum Verdict {
    Success,
    /// By policy, correctly.
    Refused,
    /// By a fault that was active while it was open.
    Broken,
    Violation(&'static str),
}

/// The outcome of a connection, in a word.
fn outcome(result: &io::Result<u64>) -> &'static str {
    match result {
        Ok(_) => "success",
        Err(e) => match e.kind() {
            io::ErrorKind::InvalidData => "wrong bytes",
            io::ErrorKind::Unsupported => "TLS for the application",
            io::ErrorKind::UnexpectedEof => "cut short",
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "stuck",
            io::ErrorKind::ConnectionRefused => "refused",
            _ => "reset",
        },
    }
}

impl Model {
    /// A fault begins.
    pub(super) fn begin(&self, fault: Fault) {
        self.state().faults.push((fault, None));
    }

    /// The fault does not affect connections that begin from now on.
    pub(super) fn end(&self, fault: &Fault) {
        self.end_after(fault, Duration::ZERO);
    }

    /// The fault does not affect connections that begin after this time.
    pub(super) fn end_after(&self, fault: &Fault, time: Duration) {
        for (at, until) in &mut self.state().faults {
            if at == fault && until.is_none() {
                *until = Some(Instant::now() + time);
            }
        }
    }

    /// From now on the pod denies everybody.
    pub(super) fn denies(&self, pod: &'static str) {
        self.state().denying.insert(pod, Instant::now());
    }

    /// From now on the pod may accept connections again.
    pub(super) fn allows(&self, pod: &'static str) {
        self.state().denying.remove(pod);
    }

    /// Records a violation.
    pub(super) fn violation(&self, what: String) {
        eprintln!("VIOLATION: {what}");
        self.state().violations.push(what);
    }

    /// Checks a connection that has ended at its client.
    pub(super) fn check(&self, connection: Connection) {
        let outcome = outcome(&connection.result);
        let verdict = {
            let mut state = self.state();
            *state.totals.by_kind.entry((connection.kind.to_owned(), outcome)).or_default() += 1;
            state.totals.connections += 1;
            match &connection.result {
                Ok(bytes) => {
                    state.totals.bytes += bytes;
                    let details = (connection.kind, connection.source.name, connection.port);
                    state.succeeded.insert(connection.id, details);
                }
                Err(_) => {
                    state.failed.insert(connection.id);
                }
            }
            let verdict = state.verdict(&connection, outcome);
            match verdict {
                Verdict::Success => state.totals.succeeded += 1,
                Verdict::Refused => state.totals.refused += 1,
                Verdict::Broken => state.totals.broken += 1,
                Verdict::Violation(_) => {}
            }
            verdict
        };
        if let Verdict::Violation(verdict) = verdict {
            let Connection { id, kind, source, destinations, port, begun, result, .. } = connection;
            let to: Vec<_> = destinations.iter().map(|test_pod| test_pod.name).collect();
            let error = result.err().map(|e| format!(": {e}")).unwrap_or_default();
            self.violation(format!(
                "{verdict}: {kind} {id:#x} from {} to {} port {port}, {:.1} s old{error}",
                source.name,
                to.join("/"),
                begun.elapsed().as_secs_f64(),
            ));
        }
    }

    /// Records what a server saw of a connection (id 0 if it did not receive it).
    pub(super) fn served(&self, test_pod: TestPod, id: u64, result: io::Result<u64>) {
        let (server, outcome) = (test_pod.name, outcome(&result));
        let Err(e) = result else { return };
        *self.state().totals.by_kind.entry((format!("(servers) {server}"), outcome)).or_default() += 1;
        match outcome {
            "wrong bytes" => self.violation(format!("{server} received wrong bytes on {id:#x}: {e}")),
            // A pod that fails open receives TLS meant for its dead proxy from clients that do not know it yet.
            "TLS for the application" if !self.state().may_receive_tls(test_pod) => {
                self.violation(format!("{server} was offered TLS"));
            }
            "cut short" if id != 0 => {
                self.state().short.insert(id, format!("{server}: {e}"));
            }
            _ => {}
        }
    }

    /// A server processes a request. `safe`: it may be processed again.
    pub(super) fn processed(&self, test_pod: TestPod, id: u64, safe: bool, body: &[u8]) {
        let server = test_pod.name;
        let twice = {
            let mut state = self.state();
            *state.processed.entry(server).or_default() += 1;
            !safe && !state.orders.insert(id)
        };
        if twice {
            self.violation(format!("{server} processed request {id:#x} a second time"));
        }
        // A GET has no body.
        let result = if safe && body.is_empty() { Ok(0) } else { bodies::check(id, body) };
        if let Err(e) = result {
            self.violation(format!("{server} received a wrong body with request {id:#x}: {e}"));
        }
    }

    /// The number of requests that a server has processed.
    pub(super) fn processed_by(&self, test_pod: TestPod) -> u64 {
        self.state().processed.get(test_pod.name).copied().unwrap_or_default()
    }

    /// Counts requests that were answered, those that their client sent again, and those that it has cancelled.
    pub(super) fn requested(&self, kind: &str, [answered, repeated, cancelled]: [u64; 3]) {
        let totals = &mut self.state().totals.by_kind;
        let outcomes = ["answered", "sent again by the client", "cancelled by the client"];
        for (outcome, count) in outcomes.into_iter().zip([answered, repeated, cancelled]) {
            if count > 0 {
                *totals.entry((format!("{kind} requests"), outcome)).or_default() += count;
            }
        }
    }

    /// All violations; all connections must have ended.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut state = self.state();
        let short = std::mem::take(&mut state.short);
        for (id, what) in short {
            if !state.failed.contains(&id) {
                let whose = state.succeeded.get(&id);
                let wrong = format!(
                    "succeeded at its client and ended early at its server: {whose:?} {id:#x}, {what}"
                );
                state.violations.push(wrong);
            }
        }
        state.violations.clone()
    }

    /// The totals; all connections must have ended.
    pub(super) fn totals(&self) -> Totals {
        let violations = self.violations().len() as u64;
        Totals { violations, ..self.state().totals.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn verdict(&self, connection: &Connection, outcome: &str) -> Verdict {
        let unmeshed = connection.source.role == Role::Unmeshed;
        let to = || connection.destinations.iter();
        let never = unmeshed && to().any(|test_pod| test_pod.role == Role::Guarded);
        let is_denied = |test_pod: &TestPod| {
            self.denying.get(test_pod.name).is_some_and(|since| *since < connection.begun)
        };
        let denied = to().any(is_denied);
        let affected = |by: fn(&Fault) -> bool| self.affected(connection, by);
        let ended = never || denied || affected(|fault| *fault != Fault::Wire);
        match outcome {
            "success" if !connection.answered => Verdict::Success,
            "success" if never => Verdict::Violation("a guarded pod answered an unmeshed client"),
            "success" if denied => Verdict::Violation("a pod answered that denies everybody"),
            "success" => Verdict::Success,
            "wrong bytes" => Verdict::Violation("wrong bytes"),
            "cut short" => Verdict::Violation("an orderly end before the last byte"),
            "stuck" if affected(|fault| matches!(fault, Fault::Pod(_))) => Verdict::Broken,
            // A reset is sent once: if the wire is cut at that time, the client waits.
            "stuck" if ended && affected(|fault| *fault == Fault::Wire) => Verdict::Broken,
            "stuck" => Verdict::Violation("stuck"),
            _ if never || denied => Verdict::Refused,
            _ if affected(|_| true) => Verdict::Broken,
            _ => Verdict::Violation("failed without a fault"),
        }
    }

    /// Whether clients may still take an unserved pod for a meshed one: its proxy is away, or was a moment ago; or it
    /// left the mesh and not every proxy knows.
    fn may_receive_tls(&self, test_pod: TestPod) -> bool {
        let proxy = Fault::Proxy(test_pod.node);
        let is_active = |until: &Option<Instant>| until.is_none_or(|until| until > Instant::now());
        self.faults.iter().filter(|(_, until)| is_active(until)).any(|(at, _)| match at {
            Fault::StaleEndpoints => test_pod.changes(),
            at => *at == proxy && test_pod.fails_open(),
        })
    }

    /// Whether one of the faults that `by` selects was active while the connection was open, and can break it.
    fn affected(&self, connection: &Connection, by: fn(&Fault) -> bool) -> bool {
        let nothing_received = connection.result.as_ref().is_err_and(|e| load::received_before(e) == Some(0));
        // The connection has ended, so every recorded fault began before its end.
        self.faults.iter().filter(|(fault, _)| by(fault)).any(|(fault, until)| {
            let ends = || connection.destinations.iter().chain([&connection.source]);
            let affects = match fault {
                Fault::Proxy(node) => ends().any(|test_pod| test_pod.node == *node),
                Fault::Pod(pod) => ends().any(|test_pod| test_pod.name == *pod),
                Fault::Wire => ends().any(|test_pod| test_pod.node != connection.source.node),
                // A proxy that has just started may not know the destination yet; established connections go on.
                Fault::Control => connection.source.role != Role::Unmeshed && nothing_received,
                Fault::StaleEndpoints => {
                    let changes = connection.destinations.iter().any(TestPod::changes);
                    connection.source.role != Role::Unmeshed && nothing_received && changes
                }
            };
            affects && until.is_none_or(|until| until > connection.begun)
        })
    }
}

#[cfg(test)]
mod tests;
