//! Keeps taps open: connects again after an interruption, and says what was missed.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use weft_api::viz::{ErrorCode, SkippedPod, TapEvent, TapMessage};

use crate::viz::access::{Viz, VizError};

/// Doubled with each attempt that fails.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);
const RECONNECT_AFTER_MOST: Duration = Duration::from_secs(30);
/// Messages that wait for the output; a tap that is not read waits, and the server drops events.
const WAITING: usize = 64;

/// What a command sees of its taps.
pub(crate) enum Update {
    Started {
        pods: u32,
        skipped: Vec<SkippedPod>,
    },
    Events(Vec<TapEvent>),
    /// The server kept events back.
    Dropped(u64),
    /// Something for the user to know.
    Note(String),
}

/// One or several taps as one.
pub(crate) struct Session {
    updates: mpsc::Receiver<(usize, Result<Update>)>,
    several: bool,
    running: usize,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Session {
    pub(crate) fn open(viz: &Arc<Viz>, paths: Vec<String>) -> Self {
        let (sender, updates) = mpsc::channel(WAITING);
        let several = paths.len() > 1;
        let running = paths.len();
        let tasks = paths
            .into_iter()
            .enumerate()
            .map(|(number, path)| {
                let tap = Tap { viz: viz.clone(), path, number, sender: sender.clone() };
                AbortOnDropHandle::new(tokio::spawn(tap.run()))
            })
            .collect();
        Self { updates, several, running, _tasks: tasks }
    }

    /// The next update; an error if no tap is left.
    pub(crate) async fn next(&mut self) -> Result<Update> {
        match self.updates.recv().await {
            None => anyhow::bail!("all taps have ended"),
            Some((number, Ok(Update::Events(mut events)))) => {
                if self.several {
                    // Each tap counts for itself.
                    for event in &mut events {
                        event.id = format!("{number}:{}", event.id);
                    }
                }
                Ok(Update::Events(events))
            }
            Some((_, Ok(update))) => Ok(update),
            Some((_, Err(error))) => {
                self.running -= 1;
                if self.running == 0 {
                    return Err(error);
                }
                Ok(Update::Note(format!("One of the taps ended: {error:#}")))
            }
        }
    }
}

struct Tap {
    viz: Arc<Viz>,
    path: String,
    number: usize,
    sender: mpsc::Sender<(usize, Result<Update>)>,
}

impl Tap {
    async fn run(self) {
        let mut begun = false;
        let mut wait = RECONNECT_AFTER;
        loop {
            let mut started = false;
            let Err(error) = self.once(&mut started).await else { return };
            begun |= started;
            if started {
                wait = RECONNECT_AFTER;
            }
            if !begun || is_final(&error) {
                self.send(Err(error)).await;
                return;
            }
            let note = format!("The tap was interrupted ({error:#}); connecting again.");
            if !self.send(Ok(Update::Note(note))).await {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RECONNECT_AFTER_MOST);
        }
    }

    /// Reads until the tap ends, which is an error, or until nobody reads the updates.
    async fn once(&self, started: &mut bool) -> Result<()> {
        let mut stream = self.viz.tap(&self.path).await?;
        loop {
            let update = match stream.next().await? {
                None => anyhow::bail!("the server closed it"),
                Some(TapMessage::Started { pods, skipped, .. }) => {
                    *started = true;
                    Update::Started { pods, skipped }
                }
                Some(TapMessage::Events { events }) => Update::Events(events),
                Some(TapMessage::Dropped { events }) => Update::Dropped(events),
                Some(TapMessage::Error { error }) => return Err(VizError::from(error).into()),
            };
            if !self.send(Ok(update)).await {
                return Ok(());
            }
        }
    }

    async fn send(&self, update: Result<Update>) -> bool {
        self.sender.send((self.number, update)).await.is_ok()
    }
}

/// Whether the same question would get the same answer again.
fn is_final(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<VizError>().and_then(|error| error.code.as_ref());
    matches!(
        code,
        Some(ErrorCode::BadRequest | ErrorCode::Forbidden | ErrorCode::NotFound | ErrorCode::TapDisabled)
    )
}
