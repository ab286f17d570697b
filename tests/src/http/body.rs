//! The body of a message, and how its end is found.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

use super::{Field, Head, Wire, head};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    Length(u64),
    Chunked,
    /// The body ends with the stream.
    UntilClose,
}

/// What a response answers: a response to HEAD has no body, whatever its fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Head,
    Other,
}

impl Framing {
    /// The framing of a request, or of the response to a request. A head whose fields contradict each other is an
    /// error.
    pub fn of(head: &Head, to: To) -> Result<Self> {
        let (codings, lengths) = (head.values("transfer-encoding"), head.values("content-length"));
        if !head.is_request() && (to == To::Head || matches!(head.status(), 100..200 | 204 | 304)) {
            return Ok(Self::Empty);
        }
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) if head.is_request() => Ok(Self::Empty),
            ([], []) => Ok(Self::UntilClose),
            ([], [length]) => {
                ensure!(
                    !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()),
                    "length {length:?}"
                );
                Ok(Self::Length(length.parse()?))
            }
            ([coding], []) => {
                ensure!(!head.is_old(), "a transfer coding in HTTP/1.0");
                ensure!(coding.eq_ignore_ascii_case("chunked"), "the transfer coding {coding:?}");
                Ok(Self::Chunked)
            }
            _ => bail!("transfer codings {codings:?} and lengths {lengths:?}"),
        }
    }

    /// Passes the body to `sink` and returns the trailers.
    pub fn read<S: Read>(
        self,
        wire: &mut Wire<S>,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<Field>> {
        match self {
            Self::Empty => {}
            Self::Length(length) => wire.exactly(length, sink)?,
            Self::UntilClose => {
                wire.rest(|part| sink(part).map_err(std::io::Error::other))?;
            }
            Self::Chunked => loop {
                let length = Self::chunk(wire)?;
                if length == 0 {
                    return head::fields(wire).context("the trailers");
                }
                Self::content(wire, length, &mut sink)?;
            },
        }
        Ok(Vec::new())
    }

    /// The length of the next chunk; after 0, trailers follow.
    fn chunk<S: Read>(wire: &mut Wire<S>) -> Result<u64> {
        let line = String::from_utf8(wire.line().context("a chunk's length")?)?;
        let digits = line.split(';').next().unwrap_or_default();
        ensure!(
            (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            "the chunk's length {line:?}"
        );
        Ok(u64::from_str_radix(digits, 16)?)
    }

    fn content<S: Read>(
        wire: &mut Wire<S>,
        length: u64,
        sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        wire.exactly(length, sink)?;
        let end = wire.line().context("the end of a chunk")?;
        ensure!(end.is_empty(), "a chunk is longer than its length");
        Ok(())
    }

    /// The content of the next chunk; `None` after the last, whose trailers have to be empty.
    pub fn next_chunk<S: Read>(wire: &mut Wire<S>) -> Result<Option<Vec<u8>>> {
        let length = Self::chunk(wire)?;
        if length == 0 {
            let trailers = head::fields(wire)?;
            ensure!(trailers.is_empty(), "trailers {trailers:?}");
            return Ok(None);
        }
        let mut content = Vec::new();
        Self::content(wire, length, |part| {
            content.extend_from_slice(part);
            Ok(())
        })?;
        Ok(Some(content))
    }
}
