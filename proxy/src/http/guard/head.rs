//! Checks the head of an HTTP/1 request, more strictly than most servers do (RFC 9112).

use std::ops::Range;

/// What follows a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// A body of so many bytes; 0 means none.
    Length(u64),
    Chunks,
    /// Perhaps another protocol: CONNECT or Upgrade.
    Perhaps,
}

/// A head that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) follows: Follows,
    /// Where the value of `Expect: 100-continue` is.
    pub(super) expect: Option<Range<usize>>,
}

/// The length of the head at the start of `bytes`, up to the empty line that ends it; `None` while that is not there.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // An empty line before the request line is allowed.
    let start = leading(bytes);
    if start > 2 {
        // The check refuses it. Counting on would cost more with each byte.
        return Some(start);
    }
    let from = searched.saturating_sub(3).max(start);
    let mut at = from;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line_end = at + found;
        // A lone LF ends a line for many servers: let the check see it.
        let before = &bytes[start..line_end];
        if before.ends_with(b"\r\n\r") || before.ends_with(b"\n") || before.ends_with(b"\n\r") {
            return Some(line_end + 1);
        }
        at = line_end + 1;
    }
    None
}

fn leading(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// How much of a head is looked at by [`check_start`].
pub(super) const START: usize = 256;

/// Checks the start of a head that may not be complete. Bytes of another protocol are refused at once: its client may wait
/// for an answer, and would never complete a head.
///
/// # Errors
/// What is wrong with the request line.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), &'static str> {
    let bytes = &bytes[..bytes.len().min(START)];
    let start = match leading(bytes) {
        0 => 0,
        2 if bytes.starts_with(b"\r\n") => 2,
        // Of empty lines, the complete head decides.
        _ => return Ok(()),
    };
    let line = &bytes[start..];
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    match line.get(method) {
        None => return Ok(()),
        Some(b' ' | b'\r' | b'\n') if method > 0 => {}
        Some(_) => return Err("an invalid method"),
    }
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = &line[..end.unwrap_or(line.len())];
    if text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\r') {
        return Err("an invalid request target");
    }
    if end.is_some() {
        let line = (Lines { head: bytes, at: start }).next().ok_or("no request line")??;
        check_request_line(&bytes[line])?;
    }
    Ok(())
}

/// Checks a complete head.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(head: &[u8]) -> Result<Head, &'static str> {
    let start = leading(head);
    if !matches!(&head[..start], b"" | b"\r\n") {
        return Err("more than an empty line before the request line");
    }
    let mut lines = Lines { head, at: start };
    let request_line = lines.next().ok_or("no request line")??;
    let is_1_1 = check_request_line(&head[request_line.clone()])?;
    let connect = head[request_line].starts_with(b"CONNECT ");
    let (mut length, mut chunked, mut expect, mut has_expect) = (None, false, None, false);
    let (mut upgrade, mut connection_upgrade, mut h2c) = (false, false, false);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = check_field(head, line)?;
        let (name, text) = (&head[name], &head[value.clone()]);
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err("more than one Content-Length");
            }
            length = Some(parse_length(text)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked {
                return Err("more than one Transfer-Encoding");
            }
            if !text.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding other than chunked");
            }
            if !is_1_1 {
                return Err("a Transfer-Encoding in HTTP/1.0");
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"expect") {
            if has_expect {
                return Err("more than one Expect");
            }
            has_expect = true;
            expect = text.eq_ignore_ascii_case(b"100-continue").then_some(value);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
            h2c |= lists(text, b"h2c");
        } else if name.eq_ignore_ascii_case(b"connection") {
            connection_upgrade |= lists(text, b"upgrade");
        }
    }
    let follows = match (length, chunked) {
        (Some(_), true) => return Err("both Transfer-Encoding and Content-Length"),
        (None, true) => Follows::Chunks,
        (Some(length), false) if length > 0 => Follows::Length(length),
        // As `headers::is_upgrade` has it: somebody must tell the guard what came of it.
        _ if connect || (is_1_1 && upgrade && connection_upgrade && !h2c) => Follows::Perhaps,
        _ => Follows::Length(0),
    };
    Ok(Head { follows, expect })
}

/// Whether a field's comma-separated value has this member. Like `headers::lists`, it finds none beside obs-text.
fn lists(value: &[u8], member: &[u8]) -> bool {
    let is_member = |one: &[u8]| {
        let name = one.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(member)
    };
    value.is_ascii() && value.split(|byte| *byte == b',').any(is_member)
}

/// The lines of a head, without their ends.
struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Result<Range<usize>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.head.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Some(Err("a line without an end"));
        };
        let line = self.at..self.at + end.saturating_sub(1);
        self.at += end + 1;
        if end == 0 || rest[end - 1] != b'\r' {
            return Some(Err("a line that ends with LF alone"));
        }
        if self.head[line.clone()].contains(&b'\r') {
            return Some(Err("a CR within a line"));
        }
        Some(Ok(line))
    }
}

/// Whether the version is 1.1.
fn check_request_line(line: &[u8]) -> Result<bool, &'static str> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("a request line that is not METHOD TARGET VERSION");
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err("an invalid method");
    }
    // A fragment is not part of a target, and hyper would cut it off.
    let is_text = |byte: &u8| ((0x21..=0x7e).contains(byte) && *byte != b'#') || *byte >= 0x80;
    if target.is_empty() || !target.iter().all(is_text) || std::str::from_utf8(target).is_err() {
        return Err("an invalid request target");
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err("a version other than HTTP/1.0 and HTTP/1.1"),
    }
}

/// The places of a field's name and value.
pub(super) fn check_field(
    head: &[u8],
    line: Range<usize>,
) -> Result<(Range<usize>, Range<usize>), &'static str> {
    let bytes = &head[line.clone()];
    if matches!(bytes.first(), Some(b' ' | b'\t')) {
        return Err("a folded header line");
    }
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or("a header line without a colon")?;
    let name = &bytes[..colon];
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err("an invalid header name");
    }
    let value = &bytes[colon + 1..];
    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return Err("an invalid character in a header value");
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let before = value.iter().take_while(|byte| is_space(byte)).count();
    let after = value[before..].iter().rev().take_while(|byte| is_space(byte)).count();
    let start = line.start + colon + 1 + before;
    Ok((line.start..line.start + colon, start..line.end - after))
}

fn parse_length(text: &[u8]) -> Result<u64, &'static str> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return Err("an invalid Content-Length");
    }
    Ok(text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
