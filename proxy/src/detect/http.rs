//! Recognizes HTTP/1 and HTTP/2 by the first bytes that a client sends.

/// What the first bytes of a connection say about HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// A complete request line of HTTP/1.0 or HTTP/1.1 (RFC 9112, section 3).
    Http1,
    /// The complete connection preface of HTTP/2 (RFC 9113, section 3.4).
    Http2,
    /// Something else.
    Not,
    /// The start of a well-known method, or of the preface. More bytes decide.
    Likely,
    /// Could be the start of a request line with an unknown method. More bytes decide.
    Possible,
}

/// Classifies the first bytes of a connection.
///
/// `bytes` is everything received so far; call again with more while the result is [`Http::Likely`] or
/// [`Http::Possible`]. At most [`MAX_REQUEST_LINE`] bytes are needed for another result.
pub fn http(bytes: &[u8]) -> Http {
    if bytes.starts_with(PREFACE) {
        return Http::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Http::Likely;
    }
    // Servers skip an empty line before the request line (RFC 9112, section 2.2).
    let line = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n")).unwrap_or(bytes);
    if line.is_empty() || line == b"\r" {
        return Http::Possible;
    }
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    let incomplete = if could_be_known(&line[..method]) { Http::Likely } else { Http::Possible };
    match line.get(method) {
        _ if method == 0 || method > MAX_METHOD => Http::Not,
        None => incomplete,
        Some(b' ') => request_line(&line[method + 1..], incomplete),
        Some(_) => Http::Not,
    }
}

/// What the first bytes of a server say, if it speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFirst {
    /// The SETTINGS frame with which a server of HTTP/2 may begin (RFC 9113, section 3.4): the client's bytes decide.
    Http2Settings,
    /// Another protocol, in which the server speaks first.
    Other,
    /// More bytes decide.
    Incomplete,
}

/// Classifies the first bytes of a server.
pub fn server_first(bytes: &[u8]) -> ServerFirst {
    let Some(header) = bytes.first_chunk::<9>() else {
        let could_be =
            bytes.iter().zip(SETTINGS_HEADER).all(|(byte, expected)| expected.is_none_or(|e| e == *byte));
        return if could_be { ServerFirst::Incomplete } else { ServerFirst::Other };
    };
    let is_settings =
        header.iter().zip(SETTINGS_HEADER).all(|(byte, expected)| expected.is_none_or(|e| e == *byte));
    let length = u16::from_be_bytes([header[1], header[2]]);
    if is_settings && length.is_multiple_of(6) { ServerFirst::Http2Settings } else { ServerFirst::Other }
}

/// Length (of which two bytes may be anything), type, flags and stream of a SETTINGS frame.
const SETTINGS_HEADER: [Option<u8>; 9] =
    [Some(0), None, None, Some(4), Some(0), Some(0), Some(0), Some(0), Some(0)];

/// Classifies what follows the method and its space.
fn request_line(rest: &[u8], incomplete: Http) -> Http {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let line = &rest[..end.unwrap_or(rest.len())];
    // Also of a complete line: the result must not depend on how the bytes arrive.
    let is_text = line.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\r');
    if !is_text || line.len() >= MAX_REQUEST_LINE {
        return Http::Not;
    }
    if end.is_none() {
        return incomplete;
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let version = line.iter().rposition(|byte| *byte == b' ').map(|space| &line[space + 1..]);
    match version {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9']) => Http::Http1,
        _ => Http::Not,
    }
}

fn could_be_known(method: &[u8]) -> bool {
    KNOWN_METHODS.iter().any(|known| known.starts_with(method))
}

/// A character of a method (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods of RFC 9110, RFC 5789 and the WebDAV family.
const KNOWN_METHODS: [&[u8]; 22] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"MERGE",
    b"PURGE",
    b"SUBSCRIBE",
    b"NOTIFY",
];

/// Longer methods are not taken for HTTP.
const MAX_METHOD: usize = 32;
/// A longer request line is not taken for HTTP.
pub const MAX_REQUEST_LINE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first `n` bytes say, for each n.
    fn prefixes(bytes: &[u8]) -> Vec<Http> {
        (1..=bytes.len()).map(|n| http(&bytes[..n])).collect()
    }

    #[test]
    fn a_request_line_is_recognized_when_it_is_complete() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /a?b=c HTTP/1.0\r\n",
            "OPTIONS * HTTP/1.1\n",
            "\r\nGET / HTTP/1.1\r\n",
        ] {
            let results = prefixes(line.as_bytes());
            assert_eq!(results.last(), Some(&Http::Http1), "{line:?}");
            let before = &results[..results.len() - 1];
            assert!(
                before.iter().all(|r| matches!(r, Http::Likely | Http::Possible)),
                "{line:?}: {before:?}"
            );
        }
    }

    #[test]
    fn the_preface_is_recognized_however_it_is_split() {
        let results = prefixes(PREFACE);
        assert_eq!(results.last(), Some(&Http::Http2));
        assert!(results[..PREFACE.len() - 1].iter().all(|r| *r == Http::Likely));
        assert_eq!(http(b"PRI * HTTP/2.0\r\n\r\nXX"), Http::Not);
    }

    #[test]
    fn unknown_methods_are_recognized_too() {
        assert_eq!(http(b"frobnicate /x HTTP/1.1\r\n"), Http::Http1);
        assert_eq!(http(b"frobnicate /x"), Http::Possible);
        assert_eq!(http(b"GET /x"), Http::Likely);
    }

    #[test]
    fn other_protocols_are_recognized_at_once() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"get foo\r\n",
            b"EHLO mail.example\r\n",
            b"CONNECT\n",
            b"REGISTER sip:example.com SIP/2.0\r\n",
            b"GET /\r\n",
            b"\0\0\0\x2a",
            b"hello, world",
            b"GET /\0",
            b"GET /\0 HTTP/1.1\r\n",
        ] {
            assert_eq!(http(bytes), Http::Not, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_server_that_sends_settings_may_speak_http2() {
        let settings = b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x64";
        assert_eq!(server_first(settings), ServerFirst::Http2Settings);
        assert_eq!(server_first(&settings[..5]), ServerFirst::Incomplete);
        assert_eq!(server_first(b"\0\0\x0d\x04\0\0\0\0\0"), ServerFirst::Other);
        assert_eq!(server_first(b"SSH-2.0-OpenSSH_9.2\r\n"), ServerFirst::Other);
        assert_eq!(server_first(b"2"), ServerFirst::Other);
    }

    #[test]
    fn the_wait_for_more_bytes_is_bounded() {
        let mut long = b"GET /".to_vec();
        long.resize(MAX_REQUEST_LINE + 8, b'a');
        assert_eq!(http(&long), Http::Not);
        assert_eq!(http(&[b'A'; MAX_METHOD + 1]), Http::Not);
    }
}
