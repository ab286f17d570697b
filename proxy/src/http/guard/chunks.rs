//! Follows a chunked body to its end (RFC 9112, section 7.1).

use super::head::check_field;

/// The longest line with a chunk's size and extensions, and all trailers together.
const MAX_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 64 * 1024;

/// Where in a chunked body the next byte is.
#[derive(Debug)]
pub(super) enum Chunks {
    /// In the line with a chunk's size: what was read of it.
    Size(Vec<u8>),
    /// Bytes of the chunk that are still to come.
    Data(u64),
    /// The CRLF after a chunk; whether the CR was seen.
    DataEnd { cr: bool },
    /// In the trailers: what was read of the current line, and how many bytes before.
    Trailers { line: Vec<u8>, before: usize },
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self::Size(Vec::new())
    }

    /// Takes bytes of the body. Returns how many, and whether the body has ended.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self {
                Self::Size(line) => {
                    let (taken, complete) = take_line(line, rest, MAX_LINE)?;
                    at += taken;
                    if complete {
                        *self = match parse_size(line)? {
                            0 => Self::Trailers { line: Vec::new(), before: 0 },
                            size => Self::Data(size),
                        };
                    }
                }
                Self::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        *self = Self::DataEnd { cr: false };
                    }
                }
                Self::DataEnd { cr } => {
                    at += 1;
                    match (*cr, rest[0]) {
                        (false, b'\r') => *cr = true,
                        (true, b'\n') => *self = Self::new(),
                        _ => return Err("a chunk that is longer than its size"),
                    }
                }
                Self::Trailers { line, before } => {
                    let (taken, complete) = take_line(line, rest, MAX_TRAILERS.saturating_sub(*before))?;
                    at += taken;
                    if !complete {
                        continue;
                    }
                    if line.is_empty() {
                        return Ok((at, true));
                    }
                    check_field(line, 0..line.len())?;
                    *before += line.len();
                    line.clear();
                }
            }
        }
        Ok((at, false))
    }
}

/// Collects a line without its end. Returns how many bytes it took, and whether the line is complete.
fn take_line(line: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<(usize, bool), &'static str> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let taken = end.map_or(bytes.len(), |end| end + 1);
    line.extend_from_slice(&bytes[..taken]);
    if line.len() > limit {
        return Err("a line of a chunked body that is too long");
    }
    if end.is_none() {
        return Ok((taken, false));
    }
    line.pop();
    if line.pop() != Some(b'\r') || line.contains(&b'\r') {
        return Err("a line of a chunked body that does not end with CRLF");
    }
    Ok((taken, true))
}

fn parse_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    let text = std::str::from_utf8(size).unwrap_or_default();
    // 15 digits: no sum of sizes overflows.
    if digits == 0 || digits > 15 {
        return Err("an invalid chunk size");
    }
    let extensions = extensions.trim_ascii_start();
    let is_valid = extensions.is_empty()
        || (extensions[0] == b';'
            && extensions.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)));
    if !is_valid {
        return Err("an invalid chunk extension");
    }
    u64::from_str_radix(text, 16).map_err(|_| "an invalid chunk size")
}
