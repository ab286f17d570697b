//! Finds where requests end: the benchmark's HTTP/1.1 requests have no body.

/// How far the end of a head has been matched, across reads.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::bench::load) struct Ends {
    matched: usize,
}

const END: &[u8] = b"\r\n\r\n";

impl Ends {
    /// The number of requests that end within `bytes`.
    pub(in crate::bench::load) fn count(&mut self, bytes: &[u8]) -> usize {
        let mut ends = 0;
        for byte in bytes {
            self.matched = match (*byte == END[self.matched], *byte == END[0]) {
                (true, _) => self.matched + 1,
                (false, true) => 1,
                (false, false) => 0,
            };
            if self.matched == END.len() {
                (self.matched, ends) = (0, ends + 1);
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    #[test]
    fn an_end_is_found_wherever_the_bytes_are_split() {
        for split in 0..REQUEST.len() {
            let mut ends = Ends::default();
            let (first, second) = REQUEST.split_at(split);
            assert_eq!((ends.count(first), ends.count(second)), (0, 1), "{split}");
        }
    }

    #[test]
    fn requests_in_one_read_are_all_counted() {
        assert_eq!(Ends::default().count(&REQUEST.repeat(3)), 3);
        assert_eq!(Ends::default().count(b"a: \r\r\n\r\n"), 1);
        assert_eq!(Ends::default().count(b"GET / HTTP/1.1\r\nhost: a\r\n\n"), 0);
    }
}
