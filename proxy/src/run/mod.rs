//! Runs the proxy: build the components, serve until told to stop, shut down.
#![forbid(unsafe_code)]

mod base;
mod build;
mod certificates;
mod control_plane;
mod data_path;
mod describe;
mod heartbeat;
mod host;
mod ready_file;
mod serve;
mod shutdown;
mod signals;
mod takeover;
mod tasks;

pub use self::ready_file::is_ready;
use self::{build::Node, signals::Signals};
use crate::{config::Config, logging::LevelHandle};

/// Serves until SIGTERM or until a successor takes over, then drains.
///
/// # Errors
/// What stood in the way of the start, or which internal task has failed.
pub async fn run(config: Config, level: LevelHandle) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut node = Node::build(config, level)?;
    let stop = node.serve(&mut signals).await;
    node.shutdown(stop, &mut signals).await
}
