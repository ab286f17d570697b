//! Keeps the messages of a tap for a slow reader, and drops what is too much.

use std::collections::VecDeque;

use parking_lot::Mutex;
use weft_api::viz::{Failure, TapEvent, TapMessage};

/// Events that wait for a reader.
const MAX_EVENTS: usize = 1000;

/// What has not been sent yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    /// Only the latest counts.
    started: Option<TapMessage>,
    events: VecDeque<TapEvent>,
    dropped: u64,
    error: Option<Failure>,
}

impl Waiting {
    pub(super) fn add(&self, message: TapMessage) {
        let mut content = self.0.lock();
        match message {
            TapMessage::Started { .. } => content.started = Some(message),
            TapMessage::Events { events } => {
                for event in events {
                    if content.events.len() < MAX_EVENTS {
                        content.events.push_back(event);
                    } else {
                        content.dropped += 1;
                    }
                }
            }
            TapMessage::Dropped { events } => content.dropped += events,
            TapMessage::Error { error } => content.error = Some(error),
        }
    }

    /// The messages to be sent now, in order.
    pub(super) fn take(&self) -> Vec<TapMessage> {
        let content = std::mem::take(&mut *self.0.lock());
        let events =
            (!content.events.is_empty()).then(|| TapMessage::Events { events: content.events.into() });
        let dropped = (content.dropped > 0).then_some(TapMessage::Dropped { events: content.dropped });
        let error = content.error.map(|error| TapMessage::Error { error });
        [content.started, events, dropped, error].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{Direction, TapEventKind};

    use super::*;

    fn event(id: usize) -> TapEvent {
        let event = TapEventKind::Response { status: 200, latency_ms: 1.0, headers: Vec::new() };
        TapEvent { id: id.to_string(), at: 0.0, direction: Direction::Inbound, event }
    }

    #[test]
    fn a_slow_reader_gets_the_first_thousand_events_and_the_number_of_the_others() {
        let waiting = Waiting::default();
        waiting.add(TapMessage::Started { pods: 1, max_rps: 100.0, skipped: Vec::new() });
        for id in 0..1500 {
            waiting.add(TapMessage::Events { events: vec![event(id)] });
        }
        waiting.add(TapMessage::Dropped { events: 7 });
        let messages = waiting.take();
        assert!(matches!(messages[0], TapMessage::Started { .. }));
        let TapMessage::Events { events } = &messages[1] else { panic!("{messages:?}") };
        assert_eq!((events.len(), events[0].id.as_str()), (1000, "0"));
        assert_eq!(messages[2], TapMessage::Dropped { events: 507 });
        assert_eq!(waiting.take(), []);
    }
}
