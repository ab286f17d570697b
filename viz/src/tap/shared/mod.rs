//! Shares taps: identical ones are opened once, and each user leaves as many as they have to others.

mod reader;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use weft_api::viz::{ErrorCode, Failure, TapMessage, TapQuery};

use self::reader::Reader;
use super::MAX_TAPS;
use crate::taps::Taps;

/// Readers of all taps.
const MAX_READERS: usize = 192;
/// How often it is looked whether readers are gone, or ready for what waits for them.
const REVIEW_INTERVAL: Duration = Duration::from_millis(250);

/// Taps that several readers may share.
pub struct SharedTaps {
    inner: Arc<dyn Taps>,
    state: Arc<Mutex<State>>,
}

/// How much is open, and how often more was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub taps: usize,
    pub readers: usize,
    pub refused: u64,
}

#[derive(Default)]
struct State {
    /// By their queries as JSON.
    taps: HashMap<String, Shared>,
    refused: u64,
}

/// A tap with its readers. The first one is who uses it up.
struct Shared {
    readers: Vec<Reader>,
    /// The last [`TapMessage::Started`].
    started: Option<TapMessage>,
    opened: watch::Receiver<Option<Result<(), Failure>>>,
}

impl SharedTaps {
    pub fn new(inner: Arc<dyn Taps>) -> Self {
        Self { inner, state: Arc::default() }
    }

    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage { taps: state.taps.len(), readers: state.readers().count(), refused: state.refused }
    }

    async fn join(&self, user: String, query: TapQuery) -> Result<BoxStream<'static, TapMessage>, Failure> {
        let key = serde_json::to_string(&query)
            .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("the query is wrong: {error}")))?;
        let (messages, mut opened) = {
            let mut state = self.state.lock();
            if let Err(failure) = state.may_join(&key, &user) {
                state.refused += 1;
                return Err(failure);
            }
            let (reader, messages) = Reader::new(user.clone());
            let opened = match state.taps.get_mut(&key) {
                Some(shared) => {
                    shared.readers.push(reader);
                    shared.opened.clone()
                }
                None => {
                    let (sender, opened) = watch::channel(None);
                    let shared = Shared { readers: vec![reader], started: None, opened: opened.clone() };
                    state.taps.insert(key.clone(), shared);
                    let (inner, state) = (self.inner.clone(), self.state.clone());
                    tokio::spawn(run(inner, state, key, user, query, sender));
                    opened
                }
            };
            (messages, opened)
        };
        let result = opened.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
        match result {
            Some(Ok(())) => Ok(Box::pin(ReceiverStream::new(messages))),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::new(ErrorCode::Internal, "The tap ended.").hint("Open it again.")),
        }
    }
}

impl Taps for SharedTaps {
    fn open(
        &self,
        user: &str,
        query: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>> {
        let this = Self { inner: self.inner.clone(), state: self.state.clone() };
        let user = user.to_owned();
        Box::pin(async move { this.join(user, query).await })
    }
}

impl fmt::Debug for SharedTaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTaps").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl State {
    fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.taps.values().flat_map(|shared| &shared.readers)
    }

    /// Whoever has as many as are left leaves these to others, so that there is always one for somebody who has none.
    fn may_join(&self, key: &str, user: &str) -> Result<(), Failure> {
        let of_user = self.readers().filter(|reader| reader.user == user).count();
        check(user, "live views", of_user, self.readers().count(), MAX_READERS)?;
        if self.taps.contains_key(key) {
            return Ok(());
        }
        let uses = |shared: &&Shared| shared.readers.first().is_some_and(|reader| reader.user == user);
        check(user, "taps", self.taps.values().filter(uses).count(), self.taps.len(), MAX_TAPS)
    }
}

fn check(user: &str, what: &str, own: usize, all: usize, most: usize) -> Result<(), Failure> {
    let left = most.saturating_sub(all);
    if own < left {
        return Ok(());
    }
    let text = match own {
        0 => format!("{most} {what} are open already, which is the most"),
        _ => format!("{user} has {own} {what} open, and the other {left} are left to other users"),
    };
    let hint = "close one, for example a page of the dashboard; those who tap the same share one tap";
    Err(Failure::new(ErrorCode::TooManyTaps, text).hint(hint))
}

/// Opens a tap, and passes on what it says until nobody reads it any more.
async fn run(
    inner: Arc<dyn Taps>,
    state: Arc<Mutex<State>>,
    key: String,
    user: String,
    query: TapQuery,
    opened: watch::Sender<Option<Result<(), Failure>>>,
) {
    let mut stream = match inner.open(&user, query).await {
        Ok(stream) => stream,
        Err(failure) => {
            state.lock().taps.remove(&key);
            opened.send_replace(Some(Err(failure)));
            return;
        }
    };
    opened.send_replace(Some(Ok(())));
    let mut review = tokio::time::interval(REVIEW_INTERVAL);
    review.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = stream.next() => match message {
                Some(message) => Some(message),
                None => break,
            },
            _ = review.tick() => None,
        };
        let is_last = matches!(message, Some(TapMessage::Error { .. }));
        let mut state = state.lock();
        let Some(shared) = state.taps.get_mut(&key) else { return };
        shared.hear(message);
        if shared.readers.is_empty() {
            state.taps.remove(&key);
            return;
        }
        if is_last {
            break;
        }
    }
    // The readers' streams end with it.
    state.lock().taps.remove(&key);
}

impl Shared {
    fn hear(&mut self, message: Option<TapMessage>) {
        if let Some(TapMessage::Started { .. }) = message {
            self.started.clone_from(&message);
            self.readers.iter_mut().for_each(Reader::start_changed);
        }
        for reader in &mut self.readers {
            reader.flush(self.started.as_ref());
            if let Some(message) = &message {
                reader.hear(message);
            }
        }
        self.readers.retain(Reader::is_there);
    }
}
