//! Follows a chunked body to its end (RFC 9112, section 7.1).

use super::{super::settings::MAX_HEADERS, head::check_field};

/// The longest line with a chunk's size and extensions, and all trailers together; hyper allows as many trailers.
const MAX_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;
/// All extensions of a body together; hyper allows as many.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Follows one body.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of extensions so far.
    extensions: usize,
}

/// Where in a chunked body the next byte is.
#[derive(Debug)]
enum At {
    /// In the line with a chunk's size: what was read of it.
    Size(Vec<u8>),
    /// Bytes of the chunk that are still to come.
    Data(u64),
    /// The CRLF after a chunk; whether the CR was seen.
    DataEnd { cr: bool },
    /// In the trailers: what was read of the current line, how many bytes before, and in how many lines.
    Trailers { line: Vec<u8>, before: usize, fields: usize },
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { at: At::Size(Vec::new()), extensions: 0 }
    }

    /// Takes bytes of the body. Returns how many, and whether the body has ended.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.at {
                At::Size(line) => {
                    let (taken, complete) = take_line(line, rest, MAX_LINE)?;
                    at += taken;
                    if complete {
                        let (size, extensions) = parse_size(line)?;
                        self.extensions += extensions;
                        if self.extensions > MAX_EXTENSIONS {
                            return Err("too many chunk extensions");
                        }
                        self.at = match size {
                            0 => At::Trailers { line: Vec::new(), before: 0, fields: 0 },
                            size => At::Data(size),
                        };
                    }
                }
                At::Data(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.at = At::DataEnd { cr: false };
                    }
                }
                At::DataEnd { cr } => {
                    at += 1;
                    match (*cr, rest[0]) {
                        (false, b'\r') => *cr = true,
                        (true, b'\n') => self.at = At::Size(Vec::new()),
                        _ => return Err("a chunk that is longer than its size"),
                    }
                }
                At::Trailers { line, before, fields } => {
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
                    *fields += 1;
                    if *fields > MAX_HEADERS {
                        return Err("too many trailers");
                    }
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

/// The size of a chunk, and how many bytes its extensions have.
fn parse_size(line: &[u8]) -> Result<(u64, usize), &'static str> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    let text = std::str::from_utf8(size).unwrap_or_default();
    // 15 digits: no sum of sizes overflows.
    if digits == 0 || digits > 15 {
        return Err("an invalid chunk size");
    }
    // No other whitespace: form feeds, which some take for it, are none in HTTP.
    let spaces = extensions.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let extensions = &extensions[spaces..];
    let is_valid = extensions.is_empty()
        || (extensions[0] == b';'
            && extensions.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)));
    if !is_valid {
        return Err("an invalid chunk extension");
    }
    let size = u64::from_str_radix(text, 16).map_err(|_| "an invalid chunk size")?;
    Ok((size, extensions.len()))
}
