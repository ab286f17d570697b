//! How is the way between an application and the proxy made short?
//!
//! For connections that opted in and go to another node: what the application sends is put into the receive queue
//! of the proxy's socket, and what the proxy sends into the application's. The proxy reads and writes as ever.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use tokio::net::TcpStream;
use tracing::{debug, warn};
use weft_common::Route;

use super::Splicing;
use crate::capture::{Full, Routed, socket_cookie};

/// A connection between an application and the proxy; dropped, it is one like any other.
pub struct Hop {
    splicing: Arc<Splicing>,
    /// `None`: there was no room; the proxy's end is a member nevertheless.
    routed: Option<[Routed; 2]>,
}

impl Hop {
    /// Makes the proxy's end, `stream`, a member. `None`: the kernel does not know the other end as one.
    pub fn start(splicing: &Arc<Splicing>, stream: &TcpStream) -> Option<Self> {
        let splice = splicing.capture.splice();
        let own = socket_cookie(&stream.as_fd()).ok()?;
        let pair = splice.pair(own)?;
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
            ..Route::default()
        };
        if let Err(error) = splice.join(stream.as_fd(), own) {
            debug!(%error, "the way between application and proxy stays as it is");
            return None;
        }
        let routed = || -> Result<[Routed; 2], Full> {
            let there = splice.begin(to_proxy, 0)?;
            match splice.begin(to_application, 0) {
                Ok(back) => Ok([there, back]),
                Err(full) => {
                    splice.end(there);
                    Err(full)
                }
            }
        };
        let routed = routed();
        let figure = if routed.is_ok() { &splicing.figures.hops } else { &splicing.figures.full };
        figure.fetch_add(1, Ordering::Relaxed);
        if let Err(full) = &routed {
            warn!(error = %full, "the way between application and proxy stays as it is");
        }
        Some(Hop { splicing: splicing.clone(), routed: routed.ok() })
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        for routed in self.routed.into_iter().flatten() {
            self.splicing.capture.splice().end(routed);
        }
    }
}
