//! One reader of a shared tap: gets whole requests, and is told what it was too slow for.

use std::collections::HashSet;

use tokio::sync::mpsc;
use weft_api::viz::{TapEvent, TapEventKind, TapMessage};

/// Messages that wait for a reader.
const MAX_MESSAGES: usize = 16;
/// Requests without an end of which more events are passed on.
const MAX_SHOWN: usize = 10_000;

pub(super) struct Reader {
    pub(super) user: String,
    messages: mpsc::Sender<TapMessage>,
    /// The requests that it has seen. Of others it gets no response.
    shown: HashSet<String>,
    dropped: u64,
    /// Whether it has still to be told how many pods are tapped. That comes first.
    start_waits: bool,
}

impl Reader {
    pub(super) fn new(user: String) -> (Self, mpsc::Receiver<TapMessage>) {
        let (messages, receiver) = mpsc::channel(MAX_MESSAGES);
        (Self { user, messages, shown: HashSet::new(), dropped: 0, start_waits: true }, receiver)
    }

    pub(super) fn is_there(&self) -> bool {
        !self.messages.is_closed()
    }

    pub(super) fn start_changed(&mut self) {
        self.start_waits = true;
    }

    /// Sends what waits, as far as the reader is ready.
    pub(super) fn flush(&mut self, started: Option<&TapMessage>) {
        if self.start_waits
            && let Some(started) = started
            && self.messages.try_send(started.clone()).is_ok()
        {
            self.start_waits = false;
        }
        if self.dropped > 0
            && !self.start_waits
            && self.messages.try_send(TapMessage::Dropped { events: self.dropped }).is_ok()
        {
            self.dropped = 0;
        }
    }

    pub(super) fn hear(&mut self, message: &TapMessage) {
        match message {
            TapMessage::Started { .. } => {}
            TapMessage::Events { events } => self.pass(events),
            TapMessage::Dropped { events } => self.dropped += events,
            // The last message: a reader that has no room for it sees that the stream ends.
            TapMessage::Error { .. } => drop(self.messages.try_send(message.clone())),
        }
    }

    fn pass(&mut self, events: &[TapEvent]) {
        let Ok(permit) = self.messages.try_reserve() else {
            self.dropped += events.len() as u64;
            for event in events {
                self.shown.remove(&event.id);
            }
            return;
        };
        if self.start_waits {
            self.dropped += events.len() as u64;
            return;
        }
        let shown = &mut self.shown;
        let events: Vec<_> = events.iter().filter(|event| is_seen(shown, event)).cloned().collect();
        if !events.is_empty() {
            permit.send(TapMessage::Events { events });
        }
    }
}

/// Whether an event is one of a request that the reader sees.
fn is_seen(shown: &mut HashSet<String>, event: &TapEvent) -> bool {
    match event.event {
        TapEventKind::Request { .. } => {
            if shown.len() >= MAX_SHOWN {
                shown.clear();
            }
            shown.insert(event.id.clone());
            true
        }
        TapEventKind::End { .. } => shown.remove(&event.id),
        _ => shown.contains(&event.id),
    }
}
