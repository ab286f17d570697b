//! Which outcome may a connection have?
//!
//! A connection succeeds, unless something was done while it was open that breaks it: then it may be refused or
//! reset. Nothing whatever excuses a wrong byte, an orderly end before the last byte, or an answer from a pod that lets
//! nobody in.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::testbed::{Place, Role};
use crate::load;

/// Where something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// To a node's proxy.
    Node(&'static str),
    /// To a pod.
    Pod(&'static str),
    /// To the wire between the nodes.
    Wire,
    /// To the control plane.
    Control,
    /// To what proxies know of pods that change: the control plane was away, and watches return one by one.
    Word,
}

/// A connection that is over.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) kind: &'static str,
    pub(super) source: Place,
    /// More than one for a service.
    pub(super) destinations: Vec<Place>,
    pub(super) port: u16,
    pub(super) begun: Instant,
    /// Whether going well means that the server answered.
    pub(super) answered: bool,
    pub(super) result: io::Result<u64>,
}

/// Everything that was seen and done.
#[derive(Default)]
pub(super) struct Model(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// What was done where, and until when; what is done at present has no end yet.
    done: Vec<(Site, Option<Instant>)>,
    /// Since when a pod surely lets nobody in.
    shut: BTreeMap<&'static str, Instant>,
    /// Connections that failed for their client, which ends them as it can.
    failed: HashSet<u64>,
    /// What the others were: how, from where, to which port.
    went_well: HashMap<u64, (&'static str, &'static str, u16)>,
    /// Connections that ended too early for their server, though in an orderly way.
    short: BTreeMap<u64, String>,
    totals: Totals,
    wrongs: Vec<String>,
}

/// What it was, in figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Connections by kind and by how they ended; what servers saw of them too.
    pub(super) by_kind: BTreeMap<(String, &'static str), u64>,
    pub(super) connections: u64,
    /// Of those that went well.
    pub(super) bytes: u64,
    pub(super) well: u64,
    pub(super) refused: u64,
    pub(super) broken: u64,
    pub(super) violations: u64,
}

/// What is to be thought of a connection.
enum Verdict {
    Well,
    /// By a policy that has to.
    Refused,
    /// By what was done while it was open.
    Broken,
    Wrong(&'static str),
}

/// What became of a connection, in a word.
fn outcome(result: &io::Result<u64>) -> &'static str {
    match result {
        Ok(_) => "well",
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
    /// From now on something happens at `site`.
    pub(super) fn begins(&self, site: Site) {
        self.book().done.push((site, None));
    }

    /// Nothing that begins from now on is touched by it any more.
    pub(super) fn over(&self, site: &Site) {
        self.over_in(site, Duration::ZERO);
    }

    /// Nothing that begins after this time is touched by it any more.
    pub(super) fn over_in(&self, site: &Site, time: Duration) {
        for (at, until) in &mut self.book().done {
            if at == site && until.is_none() {
                *until = Some(Instant::now() + time);
            }
        }
    }

    /// From now on the pod lets nobody in.
    pub(super) fn shut(&self, pod: &'static str) {
        self.book().shut.insert(pod, Instant::now());
    }

    /// The pod may let in somebody again.
    pub(super) fn opening(&self, pod: &'static str) {
        self.book().shut.remove(pod);
    }

    /// Something is not as it must be.
    pub(super) fn wrong(&self, what: String) {
        eprintln!("WRONG: {what}");
        self.book().wrongs.push(what);
    }

    /// Judges a connection that its client is done with.
    pub(super) fn judge(&self, connection: Connection) {
        let outcome = outcome(&connection.result);
        let verdict = {
            let mut book = self.book();
            *book.totals.by_kind.entry((connection.kind.to_owned(), outcome)).or_default() += 1;
            book.totals.connections += 1;
            match &connection.result {
                Ok(bytes) => {
                    book.totals.bytes += bytes;
                    let told = (connection.kind, connection.source.name, connection.port);
                    book.went_well.insert(connection.id, told);
                }
                Err(_) => {
                    book.failed.insert(connection.id);
                }
            }
            let verdict = book.verdict(&connection, outcome);
            match verdict {
                Verdict::Well => book.totals.well += 1,
                Verdict::Refused => book.totals.refused += 1,
                Verdict::Broken => book.totals.broken += 1,
                Verdict::Wrong(_) => {}
            }
            verdict
        };
        if let Verdict::Wrong(verdict) = verdict {
            let Connection { id, kind, source, destinations, port, begun, result, .. } = connection;
            let to: Vec<_> = destinations.iter().map(|place| place.name).collect();
            let error = result.err().map(|e| format!(": {e}")).unwrap_or_default();
            self.wrong(format!(
                "{verdict}: {kind} {id:#x} from {} to {} port {port}, {:.1} s old{error}",
                source.name,
                to.join("/"),
                begun.elapsed().as_secs_f64(),
            ));
        }
    }

    /// What a server saw of a connection (0: of which it never learned the number).
    pub(super) fn served(&self, place: Place, id: u64, result: io::Result<u64>) {
        let (server, outcome) = (place.name, outcome(&result));
        let Err(e) = result else { return };
        *self.book().totals.by_kind.entry((format!("(servers) {server}"), outcome)).or_default() += 1;
        match outcome {
            "wrong bytes" => self.wrong(format!("{server} got wrong bytes on {id:#x}: {e}")),
            // Who fails open gets what was meant for its proxy by those who have not heard of its death.
            "TLS for the application" if !self.book().is_mistaken(place) => {
                self.wrong(format!("{server} was offered TLS"));
            }
            "cut short" if id != 0 => {
                self.book().short.insert(id, format!("{server}: {e}"));
            }
            _ => {}
        }
    }

    /// Whatever was wrong, now that all connections are over.
    pub(super) fn wrongs(&self) -> Vec<String> {
        let mut book = self.book();
        let short = std::mem::take(&mut book.short);
        for (id, what) in short {
            if !book.failed.contains(&id) {
                let whose = book.went_well.get(&id);
                let wrong =
                    format!("ended well for its client and early for its server: {whose:?} {id:#x}, {what}");
                book.wrongs.push(wrong);
            }
        }
        book.wrongs.clone()
    }

    /// The figures; all connections must be over.
    pub(super) fn totals(&self) -> Totals {
        let violations = self.wrongs().len() as u64;
        Totals { violations, ..self.book().totals.clone() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn verdict(&self, connection: &Connection, outcome: &str) -> Verdict {
        let stranger = connection.source.role == Role::Stranger;
        let to = || connection.destinations.iter();
        let never = stranger && to().any(|place| place.role == Role::Guarded);
        let is_shut =
            |place: &Place| self.shut.get(place.name).is_some_and(|since| *since < connection.begun);
        let shut = to().any(is_shut);
        let touched = |by: fn(&Site) -> bool| self.touched(connection, by);
        let ended = never || shut || touched(|site| *site != Site::Wire);
        match outcome {
            "well" if !connection.answered => Verdict::Well,
            "well" if never => Verdict::Wrong("a guarded pod answered a stranger"),
            "well" if shut => Verdict::Wrong("a pod answered that lets nobody in"),
            "well" => Verdict::Well,
            "wrong bytes" => Verdict::Wrong("wrong bytes"),
            "cut short" => Verdict::Wrong("an orderly end before the last byte"),
            "stuck" if touched(|site| matches!(site, Site::Pod(_))) => Verdict::Broken,
            // A reset is sent once: while the wire is cut, who waits never hears of it.
            "stuck" if ended && touched(|site| *site == Site::Wire) => Verdict::Broken,
            "stuck" => Verdict::Wrong("stuck"),
            _ if never || shut => Verdict::Refused,
            _ if touched(|_| true) => Verdict::Broken,
            _ => Verdict::Wrong("failed, and nothing was done to it"),
        }
    }

    /// Whether somebody may take a pod that nobody serves for a meshed one: its proxy is away, or was a moment ago; or
    /// it left the mesh, and not everybody has heard.
    fn is_mistaken(&self, place: Place) -> bool {
        let node = Site::Node(place.node);
        let lasts = |until: &Option<Instant>| until.is_none_or(|until| until > Instant::now());
        self.done.iter().filter(|(_, until)| lasts(until)).any(|(at, _)| match at {
            Site::Word => place.changes(),
            at => *at == node && place.fails_open(),
        })
    }

    /// Whether something was done while it was open that breaks it, of what is to be looked at.
    fn touched(&self, connection: &Connection, by: fn(&Site) -> bool) -> bool {
        let unheard = connection.result.as_ref().is_err_and(|e| load::received_before(e) == Some(0));
        // What is judged now is over, so that everything in the book began before its end.
        self.done.iter().filter(|(site, _)| by(site)).any(|(site, until)| {
            let ends = || connection.destinations.iter().chain([&connection.source]);
            let touches = match site {
                Site::Node(node) => ends().any(|place| place.node == *node),
                Site::Pod(pod) => ends().any(|place| place.name == *pod),
                Site::Wire => ends().any(|place| place.node != connection.source.node),
                // A proxy that has just begun may not know the destination yet. Whom it brought there it serves on.
                Site::Control => connection.source.role != Role::Stranger && unheard,
                Site::Word => {
                    let changes = connection.destinations.iter().any(Place::changes);
                    connection.source.role != Role::Stranger && unheard && changes
                }
            };
            touches && until.is_none_or(|until| until > connection.begun)
        })
    }
}

#[cfg(test)]
mod tests;
