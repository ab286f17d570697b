//! The bodies of requests and responses: each is known by its seed.

use std::io;

use crate::load::Pattern;

/// The longest body.
const LONGEST: u64 = 30_000;

pub(super) fn body_of(seed: u64) -> Vec<u8> {
    let mut body = vec![0; (seed % LONGEST) as usize];
    Pattern::new(seed).fill(&mut body);
    body
}

/// Checks a whole body and returns its length.
pub(super) fn check(seed: u64, body: &[u8]) -> io::Result<u64> {
    if body.len() as u64 != seed % LONGEST {
        return Err(wrong(format!("{} bytes instead of {}", body.len(), seed % LONGEST)));
    }
    Pattern::new(seed).check(body).map_err(|e| wrong(e.to_string()))?;
    Ok(body.len() as u64)
}

pub(super) fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
