//! The control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

mod flags;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    cgroups, kubectl, launch,
    layout::{Layout, State},
    wait,
};

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Program {
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
}

/// In the order of their start.
pub(crate) const PROGRAMS: [Program; 4] =
    [Program::Etcd, Program::KubeApiserver, Program::KubeControllerManager, Program::KubeScheduler];

const READY: Duration = Duration::from_secs(90);

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
        }
    }

    /// The others end if these do not answer at their start.
    pub(crate) fn serves_others(self) -> bool {
        matches!(self, Self::Etcd | Self::KubeApiserver)
    }

    fn part(self) -> String {
        format!("control-{}", self.name())
    }

    pub(crate) fn is_running(self, layout: &Layout) -> bool {
        cgroups::is_populated(layout, &self.part())
    }
}

/// Starts the program, and waits until it serves.
pub(crate) fn start(layout: &Layout, program: Program) -> Result<()> {
    let state = layout.state()?;
    if !program.is_running(layout) {
        launch(layout, &state, program)?;
    }
    match program {
        Program::KubeApiserver => wait_for_api(layout, &state),
        _ => Ok(()),
    }
}

/// Kills the program, as a crash would, and waits for its end.
pub(crate) fn stop(layout: &Layout, program: Program) -> Result<()> {
    layout.state()?;
    cgroups::kill(layout, &program.part())
}

pub(crate) fn launch(layout: &Layout, state: &State, program: Program) -> Result<()> {
    let log = layout.control_logs().join(format!("{}.log", program.name()));
    let mut command = launch::command(layout, &program.part(), layout.control_netns(), log)?;
    command.arg(state.program(program.name())).args(match program {
        Program::Etcd => flags::etcd(layout),
        Program::KubeApiserver => flags::apiserver(layout, state),
        Program::KubeControllerManager => flags::controller_manager(layout),
        Program::KubeScheduler => flags::scheduler(layout),
    });
    command.spawn().with_context(|| format!("cannot start {}", program.name()))?;
    Ok(())
}

/// Waits until the API server answers that it is ready.
pub(crate) fn wait_for_api(layout: &Layout, state: &State) -> Result<()> {
    wait::until("the API server is ready", READY, || {
        kubectl::output(layout, state, &["get", "--raw", "/readyz"]).map(drop)
    })
}
