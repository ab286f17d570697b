//! Notices clients that do not read what they have asked for.
//!
//! This is allowed: the application has to wait, and nothing is buffered. But it is counted and logged, since it keeps
//! requests and connections in use.

use std::time::{Duration, Instant};

use super::connection::Connection;

/// How long a client may leave bytes unread before it is counted.
const SLOW: Duration = Duration::from_secs(10);

/// Since when bytes have been waiting for the client.
#[derive(Default)]
pub(super) struct Unread(Option<Instant>);

impl Unread {
    /// There is something for the client to read.
    pub(super) fn begin(&mut self) {
        self.0.get_or_insert_with(Instant::now);
    }

    /// The client has read it, or has gone away.
    pub(super) fn end(&mut self, connection: &Connection) {
        if let Some(since) = self.0.take() {
            let waited = since.elapsed();
            if waited >= SLOW {
                connection.report_slow_reader(waited);
            }
        }
    }
}
