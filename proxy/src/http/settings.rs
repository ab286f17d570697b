//! Bounds and settings of HTTP connections. Numbers are Linkerd's where it has them.

use std::time::Duration;

/// The largest head of an HTTP/1 message, and hyper's read buffer.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most headers of an HTTP/1 message.
pub(super) const MAX_HEADERS: usize = 256;
/// The largest header list of an HTTP/2 message.
pub(super) const MAX_HEADER_LIST: u32 = 128 * 1024;
/// How long an HTTP/1 connection to an endpoint may wait for the next request: less than servers usually do (5 s).
pub(super) const HTTP1_IDLE: Duration = Duration::from_secs(3);
/// How long an HTTP/2 connection to an endpoint may be without requests.
pub(super) const HTTP2_IDLE: Duration = Duration::from_secs(30);
/// How long an idle HTTP/1 client is waited for when the proxy drains.
pub(super) const IDLE_WHILE_DRAINING: Duration = Duration::from_secs(5);
/// How many HTTP/2 connections to one endpoint are opened, per worker and source, while each takes no more streams.
pub(super) const MAX_HTTP2: usize = 64;
/// How many idle HTTP/1 connections to one endpoint are kept per worker and source.
pub(super) const MAX_IDLE: usize = 1_024;

/// What a connection may do before it yields to others. The smallest frames of HTTP/2 have 9 bytes, and
/// some are answered one by one. Responses 1xx may follow each other without end.
pub(super) const BUDGET_READ_HTTP1: usize = 64 * 1024;
pub(super) const BUDGET_READ_HTTP2: usize = 16 * 1024;
pub(super) const BUDGET_WRITES: usize = 32;

/// Settings of HTTP/2 connections.
pub(super) struct Http2Settings {
    pub(super) stream_window: u32,
    pub(super) connection_window: u32,
    pub(super) keep_alive_interval: Duration,
    pub(super) keep_alive_timeout: Duration,
    /// Streams that a client may have open at once.
    pub(super) max_streams: u32,
    /// Streams that were reset and of which frames may still arrive.
    pub(super) max_reset_streams: usize,
    /// Streams that a peer may reset before they are served. One more ends the connection (rapid reset).
    pub(super) max_pending_resets: usize,
    /// Streams that may be reset in a connection's life because the peer broke the protocol. One more ends the
    /// connection.
    pub(super) max_error_resets: usize,
}

/// What may wait on a stream until its reader takes it.
pub(super) const STREAM_WINDOW: u32 = 65_535;

// The connection's window does not bind: what a stream's reader leaves unread must not stop the other streams. The
// budget of the workload bounds what all streams hold (`unread_budget`).
pub(super) static HTTP2: Http2Settings = Http2Settings {
    stream_window: STREAM_WINDOW,
    connection_window: 1 << 30,
    keep_alive_interval: Duration::from_secs(10),
    keep_alive_timeout: Duration::from_secs(3),
    max_streams: 1_000,
    max_reset_streams: 100,
    max_pending_resets: 100,
    max_error_resets: 1_024,
};
