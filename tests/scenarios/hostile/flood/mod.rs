//! Floods: clients that send more, more slowly or larger data than they should.

mod half_open;
mod hello;
mod key_updates;
mod large_hellos;
mod listeners;
mod server_names;
mod slow_hellos;
mod stuck_handshakes;
mod unfinished_handshakes;

use anyhow::{Result, ensure};
use weft_tests::{mesh::Proxy, suite::Area};

use super::attacker_and_victims;

pub(super) fn area() -> Area {
    Area::new("hostile_flood", attacker_and_victims)
        .scenario(
            "half_open",
            "100 000 half-open connections from invented addresses cost little memory and lock nobody out.",
            half_open::half_open,
        )
        .scenario(
            "slow_hellos",
            "Hundreds of ClientHellos at a few bytes per second end at the detection timeout; the log stays readable.",
            slow_hellos::slow_hellos,
        )
        .scenario(
            "large_hellos",
            "A ClientHello with a huge server name, many extensions or too many bytes is not accepted.",
            large_hellos::large_hellos,
        )
        .scenario(
            "many_server_names",
            "Clients that invent server names leave room in the metrics for others.",
            server_names::many_server_names,
        )
        .scenario(
            "endless_key_updates",
            "Key updates without end cost the proxy no memory.",
            key_updates::endless_key_updates,
        )
        .scenario(
            "unfinished_handshakes",
            "TLS handshakes that are not finished end at a timeout, and others are served.",
            unfinished_handshakes::unfinished_handshakes,
        )
        .scenario(
            "thousands_of_listeners",
            "A pod that listens on thousands of ports fills only its own quota; new servers of others are reached at \
             once.",
            listeners::thousands_of_listeners,
        )
        .scenario(
            "stuck_handshakes",
            "A pod whose packet filter keeps its connections from the proxy fills only its own quota.",
            stuck_handshakes::stuck_handshakes,
        )
}

/// The most memory by which a flood may make the proxy grow.
const MAX_GROWTH: u64 = 16 << 20;

/// The memory of a proxy before a flood.
struct MemoryBefore<'a> {
    proxy: &'a Proxy,
    bytes: u64,
}

impl<'a> MemoryBefore<'a> {
    fn of(proxy: &'a Proxy) -> Result<Self> {
        Ok(Self { proxy, bytes: proxy.memory()? })
    }

    /// Fails if the proxy has grown too much since.
    fn expect_little_growth(&self) -> Result<()> {
        let growth = self.proxy.memory()?.saturating_sub(self.bytes);
        ensure!(growth < MAX_GROWTH, "{} grew by {growth} bytes", self.proxy);
        Ok(())
    }
}
