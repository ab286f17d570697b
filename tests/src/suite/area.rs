//! Areas: scenarios that share a cluster.

use std::{
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Completion};

use super::watchdog;
use crate::{
    mesh::{Description, Mesh},
    wait,
};

/// Related scenarios and their shared cluster.
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
    /// On the area's shared cluster.
    Shared(fn(&Mesh) -> Result<()>),
    /// On its own cluster.
    Alone(fn() -> Description, fn(&Mesh) -> Result<()>),
    /// Without a cluster.
    Bare(fn() -> Result<()>),
}

/// How many selected scenarios of an area remain; its cluster is stopped after the last.
#[derive(Clone)]
pub(super) struct Selection(Arc<AtomicUsize>);

/// The default time limit of a scenario, with the start of its cluster.
const LIMIT: Duration = Duration::from_secs(90);

const NOT_STARTED: &str = "the cluster did not start";

impl Area {
    /// An area whose scenarios share a cluster.
    pub fn new(name: &'static str, describe: fn() -> Description) -> Self {
        Self { describe: Some(describe), ..Self::without_cluster(name) }
    }

    /// An area without a shared cluster.
    pub fn without_cluster(name: &'static str) -> Self {
        Self { name, describe: None, scenarios: Vec::new(), cluster: Mutex::new(None) }
    }

    /// Adds a scenario: its name, the sentence that it proves, and the function that proves it.
    pub fn scenario(self, name: &'static str, proves: &'static str, run: fn(&Mesh) -> Result<()>) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Shared(run) })
    }

    /// Adds a scenario that needs no cluster.
    pub fn bare(self, name: &'static str, proves: &'static str, run: fn() -> Result<()>) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Bare(run) })
    }

    /// Adds a scenario that gets its own cluster, because it damages it or needs a special one.
    pub fn alone(
        self,
        name: &'static str,
        proves: &'static str,
        describe: fn() -> Description,
        run: fn(&Mesh) -> Result<()>,
    ) -> Self {
        self.add(Scenario { name, proves, limit: LIMIT, work: Work::Alone(describe, run) })
    }

    /// Sets the time limit of the scenario that was added last.
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

    pub(super) fn run(self: &Arc<Self>, index: usize, left: &Selection) -> Result<Completion, String> {
        let scenario = &self.scenarios[index];
        print!("\n     {}\n     ", scenario.proves);
        // A line that cannot be shown is no reason to fail.
        let _ = std::io::stdout().flush();
        let begun = Instant::now();
        let name = self.full_name(index);
        let area = self.clone();
        let outcome = watchdog::run(&name, wait::here(scenario.limit), move |progress| {
            area.run_scenario(index, progress)
        });
        print!("{:5.1} s ", begun.elapsed().as_secs_f64());
        let last = left.0.fetch_sub(1, Ordering::SeqCst) == 1;
        if last || outcome.is_err() {
            self.end();
        }
        outcome
    }

    /// Runs on the scenario's own thread.
    fn run_scenario(&self, index: usize, progress: &watchdog::Progress) -> Result<()> {
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
                mesh.stop().context("the cluster did not stop cleanly")
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

    /// Stops the shared cluster, if there is one.
    pub(super) fn end(&self) {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(e)) = cluster.map(|mesh| mesh.stop()) {
            eprintln!("the cluster of {} did not stop cleanly: {e:#}", self.name);
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

/// Whether the command line selects this name, by the rules of libtest.
pub(super) fn selected(arguments: &Arguments, name: &str) -> bool {
    let fits = |pattern: &String| if arguments.exact { name == pattern } else { name.contains(pattern) };
    arguments.filter.as_ref().is_none_or(fits) && !arguments.skip.iter().any(fits)
}
