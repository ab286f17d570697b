//! Recognizes a TLS ClientHello, and reads its server name.

use std::borrow::Cow;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Not the start of a TLS connection.
    NotTls,
    /// A complete ClientHello.
    Tls {
        /// The requested host name, in lower case and without a trailing dot.
        sni: Option<String>,
    },
    /// More bytes are needed.
    Incomplete,
    /// A ClientHello longer than [`MAX_HELLO`] bytes.
    TooLarge,
    /// Starts like a ClientHello, but is invalid.
    Malformed,
}

/// Classifies the first bytes of a connection.
///
/// `bytes` is everything received so far; call again with more while the result is [`Hello::Incomplete`]. At most
/// [`MAX_HELLO`] bytes are needed for another result. The ClientHello may be split into any number of TLS records (RFC
/// 8446, section 5.1), and the network may split these anywhere.
pub fn client_hello(bytes: &[u8]) -> Hello {
    if !could_be_hello(bytes) {
        return Hello::NotTls;
    }
    let handshake = match join_records(bytes) {
        Ok(handshake) => handshake,
        Err(result) => return result,
    };
    let Some((header, rest)) = handshake.split_first_chunk::<HANDSHAKE_HEADER>() else {
        return incomplete(bytes);
    };
    if header[0] != CLIENT_HELLO {
        return Hello::NotTls;
    }
    let length = message_length(header);
    if length > MAX_MESSAGE {
        return Hello::TooLarge;
    }
    match rest.get(..length) {
        None => incomplete(bytes),
        Some(body) => match server_name(body) {
            Some(sni) => Hello::Tls { sni },
            None => Hello::Malformed,
        },
    }
}

/// Whether the bytes so far could be a TLS record with a ClientHello.
fn could_be_hello(bytes: &[u8]) -> bool {
    let at = |i: usize, is_valid: fn(u8) -> bool| bytes.get(i).is_none_or(|b| is_valid(*b));
    let length = match bytes {
        [_, _, _, high, low, ..] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    at(0, |b| b == HANDSHAKE_RECORD)
        && at(1, |b| b == 3)
        // TLS 1.3 clients write version 3.1 or 3.3 here; 3.0 is SSL 3.
        && at(2, |b| b <= 4)
        && length.is_none_or(|n| (1..=MAX_RECORD).contains(&n))
        && at(RECORD_HEADER, |b| b == CLIENT_HELLO)
}

/// The handshake bytes of all records so far, without the records' headers.
fn join_records(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Hello> {
    let mut rest = &bytes[..bytes.len().min(MAX_HELLO)];
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER>() else {
            return Ok(joined);
        };
        // Bytes after the ClientHello are ignored, so that more bytes never change the result.
        if is_decided(&joined) {
            return Ok(joined);
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE_RECORD || header[1] != 3 || !(1..=MAX_RECORD).contains(&length) {
            return Err(Hello::Malformed);
        }
        let (fragment, after) = body.split_at(length.min(body.len()));
        match joined.is_empty() {
            true => joined = Cow::Borrowed(fragment),
            false => joined.to_mut().extend_from_slice(fragment),
        }
        rest = after;
    }
}

/// Whether the handshake message is complete, or known to be none that is needed in full.
fn is_decided(handshake: &[u8]) -> bool {
    handshake.split_first_chunk::<HANDSHAKE_HEADER>().is_some_and(|(header, body)| {
        let length = message_length(header);
        header[0] != CLIENT_HELLO || length > MAX_MESSAGE || body.len() >= length
    })
}

fn message_length(header: &[u8; HANDSHAKE_HEADER]) -> usize {
    u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize
}

fn incomplete(bytes: &[u8]) -> Hello {
    if bytes.len() < MAX_HELLO { Hello::Incomplete } else { Hello::TooLarge }
}

/// The server name of a ClientHello's body; `None` if it is invalid.
fn server_name(body: &[u8]) -> Option<Option<String>> {
    let mut hello = Fields(body);
    hello.take(2 + 32)?; // version, random
    let session_id = hello.vec8()?;
    let suites = hello.vec16()?;
    let compression = hello.vec8()?;
    if session_id.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    if hello.0.is_empty() {
        return Some(None); // extensions are optional before TLS 1.3
    }
    let mut extensions = Fields(hello.vec16()?);
    if !hello.0.is_empty() {
        return None;
    }
    let mut sni = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vec16()?;
        if kind == SERVER_NAME && sni.replace(host_name(content)?).is_some() {
            return None;
        }
    }
    Some(sni)
}

/// The host name of a server_name extension. RFC 6066, section 3: one list with at most one name of each type;
/// `host_name` is the only type.
fn host_name(content: &[u8]) -> Option<String> {
    let mut content = Fields(content);
    let mut list = Fields(content.vec16()?);
    let kind = list.u8()?;
    let name = list.vec16()?;
    let is_complete = content.0.is_empty() && list.0.is_empty();
    // RFC 6066 sends names without the trailing dot; servers ignore one, and rustls would name the same host.
    let name = name.strip_suffix(b".").unwrap_or(name);
    if !is_complete || kind != HOST_NAME || name.is_empty() || name.len() > MAX_NAME || !name.is_ascii() {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

/// Reads fields from the front, and checks the length of each.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n.into())
    }

    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n.into())
    }
}

/// The maximum length of a ClientHello, including its records' headers.
///
/// weft's own has about 3 KiB, with a hybrid key share and a session ticket that holds a certificate chain.
pub const MAX_HELLO: usize = 16 * 1024;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// The maximum length of the message if it is in one record. In more records it has more headers, and may still be too
/// large.
const MAX_MESSAGE: usize = MAX_HELLO - RECORD_HEADER - HANDSHAKE_HEADER;
/// The maximum length of a plaintext record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;
/// The maximum length of a DNS name.
const MAX_NAME: usize = 255;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
