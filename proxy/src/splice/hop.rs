//! How is the way between an application and the proxy made short?
//!
//! For connections that opted in and go to another node: what the application sends is put into the receive queue
//! of the proxy's socket, and what the proxy sends into the application's. The proxy reads and writes as ever.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use tokio::net::TcpStream;
use tracing::warn;
use weft_common::{Pair, Route};

use super::Splicing;
use crate::capture::{Refused, Routed, socket_cookie};

/// How often it is looked whether the kernel knows the application's end.
const MOST_TRIES: u32 = 16;

/// A connection between an application and the proxy; dropped, it is one like any other.
pub struct Hop {
    splicing: Arc<Splicing>,
    /// `None`: there was no room; the proxy's end is a member nevertheless.
    routed: Option<[Routed; 2]>,
}

impl Hop {
    /// Makes the proxy's end, `stream`, a member. `None`: the kernel does not know the other end as one.
    pub async fn start(splicing: &Arc<Splicing>, stream: &TcpStream) -> Option<Self> {
        let splice = splicing.capture.splice();
        let own = socket_cookie(&stream.as_fd()).ok()?;
        let pair = pair(splicing, own).await?;
        let to_proxy = Route {
            sender: pair.app,
            sender_sock: pair.app_sock,
            target: own,
            target_sock: pair.proxy_sock,
            feeder: pair.app,
            feeder_sock: pair.app_sock,
            ..Route::default()
        };
        let to_application = Route {
            sender: own,
            sender_sock: pair.proxy_sock,
            target: pair.app,
            target_sock: pair.app_sock,
            feeder: own,
            feeder_sock: pair.proxy_sock,
            may_sleep: 1,
            ..Route::default()
        };
        let figures = &splicing.figures;
        match splice.join(stream.as_fd(), own) {
            Ok(()) => {}
            Err(Refused::Ending) => {
                figures.late.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Err(Refused::Other(error)) => {
                figures.full.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "the way between application and proxy stays as it is");
                return None;
            }
        }
        let routed = splice.begin([to_proxy, to_application], [0; 2]);
        let figure = if routed.is_ok() { &figures.hops } else { &figures.full };
        figure.fetch_add(1, Ordering::Relaxed);
        if let Err(full) = &routed {
            warn!(error = %full, "the way between application and proxy stays as it is");
        }
        Some(Hop { splicing: splicing.clone(), routed: routed.ok() })
    }
}

/// The application's end may be known to the kernel a moment after the proxy's.
async fn pair(splicing: &Splicing, own: u64) -> Option<Pair> {
    for _ in 0..MOST_TRIES {
        if let Some(pair) = splicing.capture.splice().pair(own) {
            return Some(pair);
        }
        tokio::task::yield_now().await;
    }
    None
}

impl Drop for Hop {
    fn drop(&mut self) {
        for routed in self.routed.into_iter().flatten() {
            self.splicing.capture.splice().end(routed);
        }
    }
}
