//! A stream of bytes that both ends can compute.
//!
//! Byte `i` of the stream with seed `s` is byte `i % 8` of a 64-bit mix of `s` and `i / 8`: each position differs from
//! its neighbours and from the same position of other streams.

use std::fmt;

/// A position in an endless stream.
#[derive(Clone, Debug)]
pub struct Pattern {
    seed: u64,
    at: u64,
}

/// A byte differs from what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The position in the stream.
    pub at: u64,
    pub expected: u8,
    pub found: u8,
}

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Self { seed, at: 0 }
    }

    /// The number of bytes produced or checked so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Skips `length` bytes.
    pub fn skip(&mut self, length: u64) {
        self.at += length;
    }

    /// Fills `buffer` with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.words(buffer.len(), |range, bytes| {
            buffer[range].copy_from_slice(bytes);
            None::<()>
        });
    }

    /// Checks that `buffer` holds the next bytes.
    pub fn check(&mut self, buffer: &[u8]) -> Result<(), Mismatch> {
        let wrong = self.words(buffer.len(), |range, bytes| {
            let found = &buffer[range.clone()];
            if found == bytes {
                return None;
            }
            let at = found.iter().zip(bytes).position(|(a, b)| a != b)?;
            Some((range.start + at, bytes[at], found[at]))
        });
        match wrong {
            None => Ok(()),
            Some((at, expected, found)) => {
                Err(Mismatch { at: self.at - buffer.len() as u64 + at as u64, expected, found })
            }
        }
    }

    /// Visits the next `length` bytes word by word; stops at the first result.
    fn words<T>(
        &mut self,
        length: usize,
        mut visit: impl FnMut(std::ops::Range<usize>, &[u8]) -> Option<T>,
    ) -> Option<T> {
        let start = self.at;
        self.at += length as u64;
        let mut done = 0;
        while done < length {
            let place = start + done as u64;
            let skip = (place % 8) as usize;
            let take = (8 - skip).min(length - done);
            let word = mix(self.seed ^ (place / 8).wrapping_mul(GOLDEN)).to_le_bytes();
            if let Some(answer) = visit(done..done + take, &word[skip..skip + take]) {
                return Some(answer);
            }
            done += take;
        }
        None
    }
}

// === impl Mismatch ===

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} is {:#04x} and should be {:#04x}", self.at, self.found, self.expected)
    }
}

impl std::error::Error for Mismatch {}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// splitmix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_bytes() {
        let mut whole = [0; 1000];
        Pattern::new(7).fill(&mut whole);
        for step in 1..40 {
            let mut parts = Pattern::new(7);
            for chunk in whole.chunks(step) {
                assert_eq!(parts.check(chunk), Ok(()));
            }
            assert_eq!(parts.position(), 1000);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_at_its_position() {
        for wrong in [0, 1, 7, 8, 63, 99] {
            let mut bytes = [0; 100];
            Pattern::new(1).fill(&mut bytes);
            bytes[wrong] ^= 1;
            let mut pattern = Pattern::new(1);
            pattern.check(&bytes[..0]).unwrap();
            let found = pattern.check(&bytes).unwrap_err();
            assert_eq!(found.at, wrong as u64);
            assert_eq!(found.expected, found.found ^ 1);
        }
    }

    #[test]
    fn a_lost_and_a_repeated_byte_are_found() {
        let mut bytes = [0; 64];
        Pattern::new(3).fill(&mut bytes);
        let mut lost = bytes.to_vec();
        lost.remove(20);
        let mut doubled = bytes.to_vec();
        doubled.insert(20, bytes[20]);
        assert!(Pattern::new(3).check(&lost).is_err());
        assert!(Pattern::new(3).check(&doubled).is_err());
        assert!(Pattern::new(4).check(&bytes).is_err());
    }
}
