//! Splices the connection between an application and the proxy, if the peer is on another node.
//!
//! The kernel puts what the application sends directly into the receive queue of the proxy's socket, and the reverse.
//! The proxy reads and writes as usual.

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
};

use tokio::net::TcpStream;
use tracing::warn;
use weft_common::{SplicePair, SpliceRedirect};

use super::Splicing;
use crate::capture::{InstalledRedirect, Refused, socket_cookie};

/// The maximum number of lookups of the application's socket in the kernel's map.
const MAX_TRIES: u32 = 16;

/// A splice between application and proxy; ends when it is dropped.
pub struct RemoteSplice {
    splicing: Arc<Splicing>,
    /// `None` if a map was full. The proxy's socket is in the socket map in both cases.
    redirects: Option<[InstalledRedirect; 2]>,
}

impl RemoteSplice {
    /// Adds the proxy's socket to the socket map and installs the redirects. `None` if the socket could not be added,
    /// or the application's socket is not in the map.
    pub async fn start(splicing: &Arc<Splicing>, stream: &TcpStream) -> Option<Self> {
        let splice = splicing.capture.splice();
        let proxy_cookie = socket_cookie(&stream.as_fd()).ok()?;
        let pair = pair(splicing, proxy_cookie).await?;
        let to_proxy = SpliceRedirect {
            sender: pair.app,
            sender_sock: pair.app_sock,
            target: proxy_cookie,
            target_sock: pair.proxy_sock,
            feeder: pair.app,
            feeder_sock: pair.app_sock,
            ..SpliceRedirect::default()
        };
        let to_application = SpliceRedirect {
            sender: proxy_cookie,
            sender_sock: pair.proxy_sock,
            target: pair.app,
            target_sock: pair.app_sock,
            feeder: proxy_cookie,
            feeder_sock: pair.proxy_sock,
            may_sleep: 1,
            ..SpliceRedirect::default()
        };
        let counters = &splicing.counters;
        match splice.join(stream.as_fd(), proxy_cookie) {
            Ok(()) => {}
            Err(Refused::Ending) => {
                counters.half_closed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Err(Refused::Other(error)) => {
                counters.full.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "a connection between application and proxy is not spliced");
                return None;
            }
        }
        let redirects = splice.begin([to_proxy, to_application], [0; 2]);
        let counter = if redirects.is_ok() { &counters.remote } else { &counters.full };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &redirects {
            warn!(%error, "a connection between application and proxy is not spliced");
        }
        Some(RemoteSplice { splicing: splicing.clone(), redirects: redirects.ok() })
    }
}

/// Looks up the application's socket, which may appear in the kernel's map a moment after the proxy's.
async fn pair(splicing: &Splicing, proxy_cookie: u64) -> Option<SplicePair> {
    for _ in 0..MAX_TRIES {
        if let Some(pair) = splicing.capture.splice().pair(proxy_cookie) {
            return Some(pair);
        }
        tokio::task::yield_now().await;
    }
    None
}

impl Drop for RemoteSplice {
    fn drop(&mut self) {
        for redirect in self.redirects.into_iter().flatten() {
            self.splicing.capture.splice().end(redirect);
        }
    }
}
