//! The table of malformed requests.

use super::{
    Malformed,
    May::{self, Become, Break, Vanish},
};

/// A request that follows where a reader may take the body for shorter than the sender does is `GET /smuggled`.
#[rustfmt::skip]
pub const REQUESTS: &[Malformed] = &[
    // Two lengths, or a length and chunks: where does the body end?
    row("length_then_chunked", Become(""), b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("chunked_then_length", Become(""), b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("two_lengths", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("two_lengths_in_a_list", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("equal_lengths", Become("body"), b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody"),
    row("equal_lengths_in_a_list", Become("body"), b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nbody"),
    // A transfer coding that only some readers take for chunked.
    row("coding_after_chunked", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_before_chunked", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_identity", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_misspelt", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_with_parameter", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_with_vertical_tab", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_quoted", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_empty_element", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_twice", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_in_two_fields", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_space_before_colon", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_tab_before_colon", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_folded", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("coding_in_old_version", Become(""), b"POST /once HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    // A length that is no number.
    row("length_negative", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\nbody"),
    row("length_with_plus", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nbody"),
    row("length_hexadecimal", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nbody"),
    row("length_with_space", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4 3\r\n\r\nbody"),
    row("length_empty", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\nbody"),
    row("length_fraction", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4.0\r\n\r\nbody"),
    row("length_overflow", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551620\r\n\r\nbody"),
    row("length_with_junk", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4abc\r\n\r\nbody"),
    row("length_space_before_colon", Vanish, b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length : 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    // Chunks: their errors are found while the body is streamed.
    row("chunk_with_junk", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4x\r\nbody\r\n0\r\n\r\n"),
    row("chunk_with_prefix", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_with_plus", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_negative", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_after_space", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n 4\r\nbody\r\n0\r\n\r\n"),
    row("chunk_overflow", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nbody\r\n0\r\n\r\n"),
    row("chunk_without_length", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\nbody\r\n0\r\n\r\n"),
    row("chunk_extension_only", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n;a=b\r\nbody\r\n0\r\n\r\n"),
    row("chunk_space_after_length", Become("body"), b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4 \r\nbody\r\n0\r\n\r\n"),
    row("chunk_longer_than_its_length", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodybody\r\n0\r\n\r\n"),
    row("chunk_shorter_than_its_length", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nbody\r\n0\r\n\r\n"),
    row("chunk_ends_with_lf", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\n0\r\n\r\n"),
    row("chunk_length_ends_with_lf", Become("body"), b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n"),
    row("chunk_length_ends_with_cr", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\rXbody\r\n0\r\n\r\n"),
    row("chunk_extension_with_lf", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4;a\nbody\r\n0\r\n\r\n"),
    row("chunk_extension_with_cr", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4;a\rb\r\nbody\r\n0\r\n\r\n"),
    row("trailer_without_colon", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX\r\n\r\n"),
    row("trailer_with_space_before_colon", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX : y\r\n\r\n"),
    row("trailer_with_nul", Break, b"POST /once HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: a\0b\r\n\r\n"),
    // Ends of lines.
    row("lf_ends_lines", Become(""), b"GET /once HTTP/1.1\nHost: x\n\n"),
    row("lf_ends_a_field", Become(""), b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n"),
    row("cr_in_a_value", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n\r\n"),
    row("cr_ends_the_head", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\r\r\n\r\n"),
    row("cr_before_a_name", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\n\rX: a\r\n\r\n"),
    row("folded", Become(""), b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"),
    row("folded_first_field", Vanish, b"GET /once HTTP/1.1\r\n X: a\r\nHost: x\r\n\r\n"),
    // Characters of names and values.
    row("nul_in_a_value", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"),
    row("control_in_a_value", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n"),
    row("delete_in_a_value", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX: a\x7fb\r\n\r\n"),
    row("space_in_a_name", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX Y: a\r\n\r\n"),
    row("nul_in_a_name", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX\0Y: a\r\n\r\n"),
    row("empty_name", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n"),
    row("name_with_parentheses", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX(Y): a\r\n\r\n"),
    row("no_colon", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX\r\n\r\n"),
    row("space_before_colon", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n"),
    // Host.
    row("no_host", Become(""), b"GET /once HTTP/1.1\r\n\r\n"),
    row("two_hosts", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    row("equal_hosts", Become(""), b"GET /once HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    row("host_space_before_colon", Vanish, b"GET /once HTTP/1.1\r\nHost: x\r\nHost : y\r\n\r\n"),
    // The first line.
    row("method_with_parentheses", Vanish, b"G(E)T /once HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("method_with_nul", Vanish, b"G\0T /once HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("method_missing", Vanish, b" /once HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("space_in_the_target", Vanish, b"GET /on ce HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("nul_in_the_target", Vanish, b"GET /on\0ce HTTP/1.1\r\nHost: x\r\n\r\n"),
    row("version_unknown", Become(""), b"GET /once HTTP/1.9\r\nHost: x\r\n\r\n"),
    row("version_with_junk", Vanish, b"GET /once HTTP/1.1x\r\nHost: x\r\n\r\n"),
    row("version_two", Vanish, b"GET /once HTTP/2.0\r\nHost: x\r\n\r\n"),
    row("version_lower_case", Vanish, b"GET /once http/1.1\r\nHost: x\r\n\r\n"),
];

const fn row(name: &'static str, may: May, bytes: &'static [u8]) -> Malformed {
    Malformed { name, bytes, may }
}
