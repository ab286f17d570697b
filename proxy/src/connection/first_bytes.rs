//! Finds out by a client's first bytes whether it speaks HTTP.

use std::{future::poll_fn, io, time::Duration};

use tokio::{
    io::AsyncRead,
    net::TcpStream,
    time::{Instant, sleep_until},
};

use crate::{
    detect::{Http, MAX_REQUEST_LINE, ServerFirst, http, server_first},
    http::HttpVersion,
    metrics::DetectionResult,
    net::{Inspection, Prefixed},
};

/// How long to wait for the rest of a request line whose method is none that is known. Few clients use such methods, and
/// other protocols begin with a short word and then wait for an answer.
const UNLIKELY_TIMEOUT: Duration = Duration::from_millis(100);

/// How often, and with which pause, to look for the rest of the header of a server's first frame.
const FRAME_HEADER_READS: u32 = 100;
const FRAME_HEADER_PAUSE: Duration = Duration::from_millis(1);

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstBytes {
    Http(HttpVersion),
    Opaque,
    /// The client sent the start of what could be a request line, and then nothing in time.
    Unclear,
}

/// Reads until it is clear what the client speaks. The bytes stay in the stream's prefix.
///
/// A client that sends nothing is waited for without a limit: it may have opened the connection in advance. `timeout`
/// counts from its first byte; `None` means no limit.
///
/// # Errors
/// The connection broke.
pub(super) async fn first_bytes<S: AsyncRead + Unpin>(
    client: &mut Prefixed<S>,
    timeout: Option<Duration>,
) -> io::Result<FirstBytes> {
    let mut since: Option<Instant> = None;
    loop {
        let mut deadline = None;
        if !client.prefix().is_empty() {
            let since = *since.get_or_insert_with(Instant::now);
            match http(client.prefix()) {
                Http::Http1 => return Ok(FirstBytes::Http(HttpVersion::Http1)),
                Http::Http2 => return Ok(FirstBytes::Http(HttpVersion::Http2)),
                Http::Not => return Ok(FirstBytes::Opaque),
                Http::Likely => deadline = timeout.map(|timeout| since + timeout),
                Http::Possible => deadline = Some(since + UNLIKELY_TIMEOUT),
            }
        }
        let until = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            read = poll_fn(|cx| client.poll_fill(cx)) => {
                if read? == 0 {
                    return Ok(FirstBytes::Opaque);
                }
            }
            () = until => return Ok(FirstBytes::Unclear),
        }
    }
}

/// Resolves when a server has sent something that only a protocol sends in which the server speaks first, or when it has
/// closed. The bytes stay in the stream's prefix.
///
/// # Errors
/// The connection broke. Only this call is told: a later read finds the end of the stream.
pub(super) async fn speaks_first<S: AsyncRead + Unpin>(server: &mut Prefixed<S>) -> io::Result<()> {
    loop {
        let read = poll_fn(|cx| server.poll_fill(cx)).await?;
        if read == 0
            || server.prefix().len() > MAX_REQUEST_LINE
            || server_first(server.prefix()) == ServerFirst::Other
        {
            return Ok(());
        }
    }
}

/// [`speaks_first`], for a socket whose bytes are to stay in it. Never resolves if it is not connected (`None`).
///
/// # Errors
/// As [`speaks_first`].
pub(super) async fn application_speaks_first(application: Option<&TcpStream>) -> io::Result<()> {
    let Some(application) = application else { return std::future::pending().await };
    let mut first = [0; 9];
    for _ in 0..FRAME_HEADER_READS {
        let read = application.peek(&mut first).await?;
        match server_first(&first[..read]) {
            _ if read == 0 => break,
            ServerFirst::Http2Settings => return std::future::pending().await,
            ServerFirst::Other => break,
            // A socket whose bytes stay in it does not tell when more arrive. The rest follows at once, if it does.
            ServerFirst::Incomplete => tokio::time::sleep(FRAME_HEADER_PAUSE).await,
        }
    }
    Ok(())
}

/// Lets a client go on that was not clear in time, but breaks the connection if it turns out to speak HTTP: its requests
/// would escape the policy.
pub(super) fn guard<S>(client: &mut Prefixed<S>) {
    let mut seen = Vec::new();
    client.inspect(Box::new(move |bytes| {
        let room = MAX_REQUEST_LINE.saturating_sub(seen.len());
        seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match http(&seen) {
            Http::Http1 | Http::Http2 => Inspection::Refuse("an HTTP request took too long to begin"),
            Http::Likely | Http::Possible if room > 0 => Inspection::Continue,
            _ => Inspection::Done,
        }
    }));
}

impl FirstBytes {
    pub(super) const fn result(self) -> DetectionResult {
        match self {
            Self::Http(HttpVersion::Http1) => DetectionResult::Http1,
            Self::Http(HttpVersion::Http2) => DetectionResult::Http2,
            Self::Opaque => DetectionResult::NotHttp,
            Self::Unclear => DetectionResult::ReadTimeout,
        }
    }
}
