//! Remembers what clients of an address have spoken, as a hint.
//!
//! A hint only decides how soon the destination is connected while a client is silent. The bytes decide the rest.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use parking_lot::RwLock;

use super::first_bytes::FirstBytes;

/// Addresses that are remembered.
const MAX_HINTS: usize = 10_000;
/// HTTP clients usually send their request in the same moment. One that does not has opened the connection in advance.
const HTTP_CLIENTS_SEND_WITHIN: Duration = Duration::from_millis(20);

#[derive(Default)]
pub struct Hints(RwLock<HashMap<SocketAddr, bool>>);

impl Hints {
    /// How long to wait for the client's first bytes before the destination is connected.
    pub(super) fn dial_delay(&self, dialled: SocketAddr) -> Duration {
        match self.0.read().get(&dialled) {
            Some(true) => HTTP_CLIENTS_SEND_WITHIN,
            Some(false) | None => Duration::ZERO,
        }
    }

    pub(super) fn learn(&self, dialled: SocketAddr, spoken: FirstBytes) {
        let is_http = matches!(spoken, FirstBytes::Http(_));
        if self.0.read().get(&dialled) == Some(&is_http) {
            return;
        }
        let mut hints = self.0.write();
        if hints.len() >= MAX_HINTS {
            hints.clear();
        }
        hints.insert(dialled, is_http);
    }
}
