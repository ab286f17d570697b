//! Passes the trailers of a chunked response on to a client of HTTP/1.1.
//!
//! hyper's server drops those that `Trailer` does not name, and all of them if the client does not say `TE: trailers`.
//! RFC 9110, section 6.5.1, allows that, but without a proxy they would arrive. So hyper is not shown them; they are
//! written to the stream before the empty line that ends the body.

use std::io::IoSlice;

use http::{
    HeaderMap, HeaderName,
    header::{self, TRANSFER_ENCODING},
};

/// The last chunk, and the empty line that follows the trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
pub(super) const EMPTY_LINE: &[u8] = b"\r\n";

/// What of hyper's bytes is to be written now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// So many bytes, and not more.
    Bytes(&'a [u8]),
    /// The trailers, and then the bytes that are left: the empty line.
    Trailers,
}

/// Trailers as HTTP/1 writes them, without those that would change how the message is understood.
pub(super) fn encode(trailers: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in trailers.iter().filter(|(name, _)| is_allowed(name)) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(EMPTY_LINE);
    }
    bytes
}

/// RFC 9110, section 6.5.1: no framing, routing, authentication, or other control data.
fn is_allowed(name: &HeaderName) -> bool {
    const CONTROL: [HeaderName; 16] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::EXPECT,
        header::HOST,
        header::MAX_FORWARDS,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        TRANSFER_ENCODING,
        header::UPGRADE,
        header::WWW_AUTHENTICATE,
    ];
    !CONTROL.contains(name) && !name.as_str().starts_with("l5d-")
}

/// What to write of hyper's bytes while trailers wait for the end of the body: all but the empty line, then the trailers.
/// hyper writes nothing else behind that before it is written itself, so the last bytes are those of the last chunk, or
/// what is left of it.
pub(super) fn next<'a>(slices: &'a [IoSlice<'_>]) -> Next<'a> {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return Next::Bytes(&[]) };
    let end: Vec<u8> =
        slices.iter().rev().flat_map(|slice| slice.iter().rev()).copied().take(LAST_CHUNK.len()).collect();
    if !end.iter().eq(LAST_CHUNK.iter().rev().take(end.len())) {
        return Next::Bytes(first);
    }
    match total.saturating_sub(EMPTY_LINE.len()) {
        0 => Next::Trailers,
        before => Next::Bytes(&first[..first.len().min(before)]),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn bytes<'a>(parts: &'a [&'a [u8]]) -> Vec<IoSlice<'a>> {
        parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    #[test]
    fn trailers_are_written_after_the_last_chunk_however_much_is_written_at_a_time() {
        for message in [&b"2\r\nab\r\n0\r\n\r\n"[..], b"0\r\n\r\n", b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"] {
            for (step, split) in [(1, 0), (2, 1), (3, 3), (100, 2), (100, message.len())] {
                let (mut left, mut written) = (message, Vec::new());
                while !left.is_empty() {
                    let parts = left.split_at(split.min(left.len()));
                    let parts = [parts.0, parts.1];
                    let slices = bytes(&parts);
                    let taken = match next(&slices) {
                        Next::Bytes(now) => {
                            let now = &now[..now.len().min(step)];
                            written.extend_from_slice(now);
                            now.len()
                        }
                        Next::Trailers => {
                            written.extend_from_slice(b"x: y\r\n\r\n");
                            2
                        }
                    };
                    left = &left[taken..];
                }
                let expected = [&message[..message.len() - 2], b"x: y\r\n\r\n"].concat();
                assert_eq!(written, expected, "{step} at a time, split at {split}");
            }
        }
    }

    #[test]
    fn control_data_is_no_trailer() {
        let mut trailers = HeaderMap::new();
        trailers.insert("content-length", 5.into());
        trailers.insert("l5d-proxy-error", HeaderValue::from_static("forged"));
        trailers.insert("x-checksum", HeaderValue::from_static("1"));
        assert_eq!(encode(&trailers), b"x-checksum: 1\r\n");
    }
}
