//! Is this a TLS ClientHello, and whom does it ask for?

use std::borrow::Cow;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Something else than the beginning of a TLS connection.
    NotTls,
    /// A complete ClientHello.
    Tls {
        /// The host name that the client asked for, in lower case.
        sni: Option<String>,
    },
    /// Could still become a ClientHello.
    Incomplete,
    /// A ClientHello that does not end within [`MAX_HELLO`] bytes.
    TooLarge,
    /// Began like a ClientHello but breaks the format.
    Malformed,
}

/// Judges the first bytes of a connection.
///
/// `bytes` is everything that has come so far; call again with more while the answer is [`Hello::Incomplete`].
/// No more than [`MAX_HELLO`] bytes are ever needed for another answer. The ClientHello may be cut into any
/// number of TLS records (RFC 8446, section 5.1), and the network may cut these anywhere.
pub fn client_hello(bytes: &[u8]) -> Hello {
    if !could_be_hello(bytes) {
        return Hello::NotTls;
    }
    let handshake = match join_records(bytes) {
        Ok(handshake) => handshake,
        Err(verdict) => return verdict,
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

/// Nothing so far contradicts "a TLS record with a ClientHello in it".
fn could_be_hello(bytes: &[u8]) -> bool {
    let at = |i: usize, good: fn(u8) -> bool| bytes.get(i).is_none_or(|b| good(*b));
    let length = match bytes {
        [_, _, _, high, low, ..] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    at(0, |b| b == HANDSHAKE_RECORD)
        && at(1, |b| b == 3)
        // 3.0 (SSL 3) to 3.3; "3.1" is what a TLS 1.3 client writes here.
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
        // What follows a hello is not looked at, so that more bytes never change a verdict.
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

/// The handshake message is whole, or known to be none that is waited for.
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

/// `None`: the ClientHello breaks the format.
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

/// RFC 6066, section 3: one list, and in it at most one name of a kind; `host_name` is the only kind.
fn host_name(content: &[u8]) -> Option<String> {
    let mut content = Fields(content);
    let mut list = Fields(content.vec16()?);
    let kind = list.u8()?;
    let name = list.vec16()?;
    let whole = content.0.is_empty() && list.0.is_empty();
    if !whole || kind != HOST_NAME || name.is_empty() || name.len() > MAX_NAME || !name.is_ascii() {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

/// Reads fields from the front; every read checks the length.
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

/// The longest ClientHello that is looked at, with its records' headers.
///
/// With a hybrid key share and a session ticket that holds a certificate chain weft's own has about 3 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// In one record. Cut into more records it has more headers, and may then still turn out too large.
const MAX_MESSAGE: usize = MAX_HELLO - RECORD_HEADER - HANDSHAKE_HEADER;
/// What a plaintext record may hold (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;
/// The longest DNS name.
const MAX_NAME: usize = 255;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
