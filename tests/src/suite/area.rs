//! Which scenarios share a cluster, and when does it end?

use std::{
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use libtest_mimic::Arguments;

use super::watchdog;
use crate::{
    mesh::{Description, Mesh},
    wait,
};

/// Scenarios that belong together and share a cluster.
pub struct Area {
    name: &'static str,
    describe: Option<fn() -> Description>,
    pub(super) scenarios: Vec<Scenario>,
    cluster: Mutex<Option<Arc<Mesh>>>,
}

pub(super) struct Scenario {
    name: &'static str,
    pub(super) proves: &'static str,
    limit: Duration,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    /// On the area's cluster.
    Shared(fn(&Mesh) -> Result<()>),
    /// On a cluster of its own.
    Alone(fn() -> Description, fn(&Mesh) -> Result<()>),
    /// Without a cluster of ours.
    Bare(fn() -> Result<()>),
}

/// The scenarios of an area that still have to run: after the last one its cluster ends.
#[derive(Clone)]
pub(super) struct Selection(Arc<AtomicUsize>);

/// What one scenario may take, its cluster's start included, unless it says more.
const LIMIT: Duration = Duration::from_secs(90);

const NOT_STARTED: &str = "the cluster did not start";

impl Area {
    /// An area whose scenarios share the cluster that `describe` describes.
    pub fn new(name: &'static str, describe: fn() -> Description) -> Self {
        Self { describe: Some(describe), ..Self::without_cluster(name) }
    }

    /// An area whose scenarios bring what they need.
    pub fn without_cluster(name: &'static str) -> Self {
        Self { name, describe: None, scenarios: Vec::new(), cluster: Mutex::new(None) }
    }

    /// Adds a scenario: its name, the sentence that it proves, and how.
    pub fn scenario(self, name: &'static str, proves: &'static str, run: fn(&Mesh) -> Result<()>) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Shared(run) })
    }

    /// Adds a scenario that needs no cluster of the suite's.
    pub fn bare(self, name: &'static str, proves: &'static str, run: fn() -> Result<()>) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Bare(run) })
    }

    /// Adds a scenario that harms its cluster or needs a special one: it has one of its own.
    pub fn alone(
        self,
        name: &'static str,
        proves: &'static str,
        describe: fn() -> Description,
        run: fn(&Mesh) -> Result<()>,
    ) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Alone(describe, run) })
    }

    /// Gives the scenario that was added last another time limit.
    pub fn within(mut self, limit: Duration) -> Self {
        if let Some(last) = self.scenarios.last_mut() {
            last.limit = limit;
        }
        self
    }

    fn add(mut self, scenario: Scenario) -> Self {
        self.scenarios.push(scenario);
        self
    }

    pub(super) fn full_name(&self, index: usize) -> String {
        format!("{}::{}", self.name, self.scenarios[index].name)
    }

    pub(super) fn run(self: &Arc<Self>, index: usize, left: &Selection) -> Result<(), String> {
        let scenario = &self.scenarios[index];
        print!("\n     {}\n     ", scenario.proves);
        // The line is for whoever watches; that it cannot be shown is no reason to fail.
        let _ = std::io::stdout().flush();
        let begun = Instant::now();
        let name = self.full_name(index);
        let area = self.clone();
        let outcome =
            watchdog::run(&name, wait::here(scenario.limit), move |progress| area.act(index, progress));
        print!("{:5.1} s ", begun.elapsed().as_secs_f64());
        let last = left.0.fetch_sub(1, Ordering::SeqCst) == 1;
        if last || outcome.is_err() {
            self.end();
        }
        outcome
    }

    /// On the scenario's own thread.
    fn act(&self, index: usize, progress: &watchdog::Progress) -> Result<()> {
        match self.scenarios[index].work {
            Work::Bare(run) => run(),
            Work::Shared(run) => {
                let mesh = self.shared()?;
                progress.on(&mesh);
                mesh.mark_logs();
                run(&mesh)
            }
            Work::Alone(describe, run) => {
                let mesh = Arc::new(describe().start().context(NOT_STARTED)?);
                progress.on(&mesh);
                run(&mesh)?;
                mesh.stop().context("the cluster did not end cleanly")
            }
        }
    }

    fn shared(&self) -> Result<Arc<Mesh>> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mesh) = &*cluster {
            return Ok(mesh.clone());
        }
        let describe = self.describe.context("this area has no cluster to share")?;
        let mesh = Arc::new(describe().start().context(NOT_STARTED)?);
        Ok(cluster.insert(mesh).clone())
    }

    /// Ends the shared cluster, if there is one.
    pub(super) fn end(&self) {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(e)) = cluster.map(|mesh| mesh.stop()) {
            eprintln!("the cluster of {} did not end cleanly: {e:#}", self.name);
        }
    }
}

// === impl Selection ===

impl Selection {
    pub(super) fn of(area: &Area, arguments: &Arguments) -> Self {
        let chosen = (0..area.scenarios.len()).filter(|index| selected(arguments, &area.full_name(*index)));
        Self(Arc::new(AtomicUsize::new(chosen.count())))
    }
}

/// Whether the command line selects this name, by libtest's rules.
pub(super) fn selected(arguments: &Arguments, name: &str) -> bool {
    let fits = |pattern: &String| if arguments.exact { name == pattern } else { name.contains(pattern) };
    arguments.filter.as_ref().is_none_or(fits) && !arguments.skip.iter().any(fits)
}
