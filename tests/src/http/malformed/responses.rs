//! The table of malformed responses to GET.

use super::{
    Malformed,
    May::{self, Become, Break, Vanish},
};

/// A response that follows where a reader may take the body for shorter than the sender does has the body `poisoned`.
#[rustfmt::skip]
pub const RESPONSES: &[Malformed] = &[
    // Where does the body end?
    row("length_then_chunked", Become(""), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("two_lengths", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\nContent-Length: 46\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("two_lengths_in_a_list", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0, 46\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("equal_lengths", Become("body"), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody"),
    row("length_negative", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: -4\r\n\r\nbody"),
    row("length_with_plus", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: +4\r\n\r\nbody"),
    row("length_with_junk", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4abc\r\n\r\nbody"),
    row("length_overflow", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 18446744073709551620\r\n\r\nbody"),
    row("coding_space_before_colon", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    // Bytes that belong to no response: they must not answer another request.
    row("surplus_after_length", Become("ok"), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("surplus_after_chunks", Become("ok"), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("surplus_after_204", Become(""), b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    row("surplus_after_304", Become(""), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 46\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
    // Chunks.
    row("chunk_with_junk", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n4x\r\nbody\r\n0\r\n\r\n"),
    row("chunk_with_prefix", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_negative", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_overflow", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n"),
    row("chunk_longer_than_its_length", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodybody\r\n0\r\n\r\n"),
    row("trailer_with_nul", Break, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: a\0b\r\n\r\n"),
    // Lines, names and values.
    row("lf_ends_a_field", Become(""), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: a\nY: b\r\nContent-Length: 0\r\n\r\n"),
    row("cr_in_a_value", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n"),
    row("folded", Become(""), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    row("nul_in_a_value", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    row("space_in_a_name", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX Y: a\r\nContent-Length: 0\r\n\r\n"),
    row("space_before_colon", Become(""), b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX : a\r\nContent-Length: 0\r\n\r\n"),
    row("empty_name", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n: a\r\nContent-Length: 0\r\n\r\n"),
    row("no_colon", Vanish, b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX\r\nContent-Length: 0\r\n\r\n"),
    // The first line.
    row("status_too_long", Vanish, b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    row("status_too_short", Vanish, b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    row("status_no_number", Vanish, b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
    row("version_unknown", Vanish, b"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n"),
    row("no_http", Vanish, b"hello, this is another protocol\r\n\r\n"),
];

const fn row(name: &'static str, may: May, bytes: &'static [u8]) -> Malformed {
    Malformed { name, bytes, may }
}
