//! The tables of malformed messages of HTTP/2 (RFC 9113, section 8), and what arrived of them.

use std::collections::BTreeMap;

use super::May::{self, Become, Break, Vanish};
use crate::attack::http2::{Frame, Frames, flag, kind, literal};

/// A header field; the pseudo-headers are among them.
type Field = (&'static str, &'static [u8]);

/// A malformed message. A request has the path `/bad`, and a response the status 200, if they have one.
pub struct MalformedHttp2 {
    pub name: &'static str,
    pub may: May,
    fields: &'static [Field],
    body: &'static [u8],
    trailers: &'static [Field],
}

/// What arrived of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Blocks of headers or trailers.
    pub blocks: usize,
    pub body: Vec<u8>,
    /// The other side has ended it in order.
    pub complete: bool,
    /// The first byte of the first block.
    first: u8,
}

const M: Field = (":method", b"POST");
const S: Field = (":scheme", b"http");
const P: Field = (":path", b"/bad");
const A: Field = (":authority", b"x");
const OK: Field = (":status", b"200");

#[rustfmt::skip]
pub const HTTP2_REQUESTS: &[MalformedHttp2] = &[
    // Fields that concern one connection of HTTP/1.
    head("connection", &[M, S, P, A, ("connection", b"close")]),
    head("keep_alive", &[M, S, P, A, ("keep-alive", b"5")]),
    head("proxy_connection", &[M, S, P, A, ("proxy-connection", b"close")]),
    head("upgrade", &[M, S, P, A, ("upgrade", b"websocket")]),
    body("transfer_encoding", Vanish, &[M, S, P, A, ("transfer-encoding", b"chunked")], b"0\r\n\r\n"),
    head("te_other_than_trailers", &[M, S, P, A, ("te", b"gzip")]),
    // Pseudo-headers.
    head("no_method", &[S, P, A]),
    head("no_scheme", &[M, P, A]),
    head("no_path", &[M, S, A]),
    head("empty_path", &[M, S, A, (":path", b"")]),
    head("two_methods", &[M, M, S, P, A]),
    head("two_schemes", &[M, S, S, P, A]),
    head("two_paths", &[M, S, P, (":path", b"/smuggled"), A]),
    head("two_authorities", &[M, S, P, A, (":authority", b"y")]),
    head("unknown_pseudo_header", &[M, S, P, A, (":own", b"1")]),
    head("status_in_a_request", &[M, S, P, A, OK]),
    head("pseudo_header_after_a_field", &[M, S, P, ("x", b"1"), A]),
    head("method_with_space", &[(":method", b"GET /smuggled"), S, P, A]),
    head("path_without_slash", &[M, S, (":path", b"bad"), A]),
    head("path_with_space", &[M, S, (":path", b"/bad HTTP/1.1"), A]),
    head("path_with_line_end", &[M, S, (":path", b"/bad\r\nX: y"), A]),
    head("user_in_the_authority", &[M, S, P, (":authority", b"user@x")]),
    head("space_in_the_authority", &[M, S, P, (":authority", b"x y")]),
    head("connect_with_path", &[(":method", b"CONNECT"), S, P, A]),
    // Two names of the server.
    head("host_differs", &[M, S, P, A, ("host", b"y")]),
    head("two_hosts", &[M, S, P, ("host", b"x"), ("host", b"y")]),
    head("two_equal_hosts", &[M, S, P, ("host", b"x"), ("host", b"x")]),
    head("neither_authority_nor_host", &[M, S, P]),
    head("empty_host_for_the_authority", &[M, S, P, ("host", b"")]),
    head("user_in_the_host", &[M, S, P, ("host", b"user@x")]),
    head("space_in_the_host", &[M, S, P, ("host", b"x y")]),
    head("path_in_the_host", &[M, S, P, ("host", b"x/smuggled")]),
    // Names and values.
    head("uppercase_name", &[M, S, P, A, ("X-Own", b"1")]),
    head("space_in_a_name", &[M, S, P, A, ("x own", b"1")]),
    head("colon_in_a_name", &[M, S, P, A, ("x:own", b"1")]),
    head("empty_name", &[M, S, P, A, ("", b"1")]),
    head("nul_in_a_value", &[M, S, P, A, ("x", b"a\0b")]),
    head("line_end_in_a_value", &[M, S, P, A, ("x", b"a\r\ny: b")]),
    head("lf_in_a_value", &[M, S, P, A, ("x", b"a\nb")]),
    head("space_before_a_value", &[M, S, P, A, ("x", b" a")]),
    head("tab_after_a_value", &[M, S, P, A, ("x", b"a\t")]),
    // Where does the body end?
    body("length_too_long", Break, &[M, S, P, A, ("content-length", b"5")], b"body"),
    body("length_too_short", Break, &[M, S, P, A, ("content-length", b"3")], b"body"),
    body("two_lengths", Vanish, &[M, S, P, A, ("content-length", b"4"), ("content-length", b"5")], b"body"),
    body("equal_lengths", Become("body"), &[M, S, P, A, ("content-length", b"4"), ("content-length", b"4")], b"body"),
    body("lengths_in_a_list", Become("body"), &[M, S, P, A, ("content-length", b"4, 4")], b"body"),
    body("length_with_plus", Vanish, &[M, S, P, A, ("content-length", b"+4")], b"body"),
    body("length_negative", Vanish, &[M, S, P, A, ("content-length", b"-4")], b"body"),
    head("length_without_body", &[M, S, P, A, ("content-length", b"4")]),
    // Trailers.
    // h2 drops pseudo-headers where they have no meaning, so that they cannot be passed on.
    MalformedHttp2 {
        may: Become("body"),
        ..trailers("pseudo_header_in_trailers", &[M, S, P, A], &[(":path", b"/smuggled")])
    },
    trailers("connection_in_trailers", &[M, S, P, A], &[("connection", b"close")]),
    trailers("uppercase_name_in_trailers", &[M, S, P, A], &[("X-Own", b"1")]),
    trailers("line_end_in_trailers", &[M, S, P, A], &[("x", b"a\r\ny: b")]),
];

/// Requests that are well-formed and must arrive: they show that the others could have.
#[rustfmt::skip]
pub const HTTP2_GOOD: &[MalformedHttp2] = &[
    body("control", Become("body"), &[M, S, P, A, ("content-length", b"4")], b"body"),
    body("host_beside_the_authority", Become("body"), &[M, S, P, A, ("host", b"x"), ("content-length", b"4")], b"body"),
    // RFC 9113, section 8.3.1, allows it, as from a client that has translated a request of HTTP/1.
    body("host_for_the_authority", Become("body"), &[M, S, P, ("host", b"x"), ("content-length", b"4")], b"body"),
];

#[rustfmt::skip]
pub const HTTP2_RESPONSES: &[MalformedHttp2] = &[
    head("connection", &[OK, ("connection", b"close")]),
    head("keep_alive", &[OK, ("keep-alive", b"5")]),
    head("proxy_connection", &[OK, ("proxy-connection", b"close")]),
    head("upgrade", &[OK, ("upgrade", b"websocket")]),
    body("transfer_encoding", Vanish, &[OK, ("transfer-encoding", b"chunked")], b"0\r\n\r\n"),
    head("no_status", &[("x", b"1")]),
    head("two_statuses", &[OK, (":status", b"404")]),
    head("status_too_short", &[(":status", b"20")]),
    head("status_too_long", &[(":status", b"2000")]),
    head("status_no_number", &[(":status", b"abc")]),
    head("status_101", &[(":status", b"101")]),
    body("path_in_a_response", Become(""), &[OK, P], b""),
    body("method_in_a_response", Become(""), &[OK, M], b""),
    head("unknown_pseudo_header", &[OK, (":own", b"1")]),
    head("pseudo_header_after_a_field", &[("x", b"1"), OK]),
    head("uppercase_name", &[OK, ("X-Own", b"1")]),
    head("space_in_a_name", &[OK, ("x own", b"1")]),
    head("nul_in_a_value", &[OK, ("x", b"a\0b")]),
    head("line_end_in_a_value", &[OK, ("x", b"a\r\ny: b")]),
    head("space_before_a_value", &[OK, ("x", b" a")]),
    body("length_too_long", Break, &[OK, ("content-length", b"5")], b"body"),
    body("length_too_short", Break, &[OK, ("content-length", b"3")], b"body"),
    body("two_lengths", Vanish, &[OK, ("content-length", b"4"), ("content-length", b"5")], b"body"),
    body("equal_lengths", Become("body"), &[OK, ("content-length", b"4"), ("content-length", b"4")], b"body"),
    body("length_with_plus", Vanish, &[OK, ("content-length", b"+4")], b"body"),
    head("length_without_body", &[OK, ("content-length", b"4")]),
    MalformedHttp2 {
        may: Become("body"),
        ..trailers("pseudo_header_in_trailers", &[OK], &[(":status", b"500")])
    },
    trailers("connection_in_trailers", &[OK], &[("connection", b"close")]),
    trailers("uppercase_name_in_trailers", &[OK], &[("X-Own", b"1")]),
    trailers("line_end_in_trailers", &[OK], &[("x", b"a\r\ny: b")]),
];

/// Without a body.
const fn head(name: &'static str, fields: &'static [Field]) -> MalformedHttp2 {
    MalformedHttp2 { name, may: Vanish, fields, body: b"", trailers: &[] }
}

const fn body(name: &'static str, may: May, fields: &'static [Field], body: &'static [u8]) -> MalformedHttp2 {
    MalformedHttp2 { name, may, fields, body, trailers: &[] }
}

const fn trailers(
    name: &'static str,
    fields: &'static [Field],
    trailers: &'static [Field],
) -> MalformedHttp2 {
    MalformedHttp2 { name, may: Break, fields, body: b"body", trailers }
}

impl MalformedHttp2 {
    /// The message on a stream.
    pub fn frames(&self, stream: u32) -> Frames {
        let last = |rest: bool| if rest { 0 } else { flag::END_STREAM };
        let (has_body, has_trailers) = (!self.body.is_empty(), !self.trailers.is_empty());
        let mut frames = Frames::default().block(last(has_body), stream, &block(self.fields));
        if has_body {
            frames = frames.frame(kind::DATA, last(has_trailers), stream, self.body);
        }
        if has_trailers {
            frames = frames.block(flag::END_STREAM, stream, &block(self.trailers));
        }
        frames
    }
}

fn block(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

impl Arrived {
    /// Adds a frame to what has arrived of its stream.
    pub fn note(streams: &mut BTreeMap<u32, Self>, frame: &Frame) {
        if !matches!(frame.kind, kind::DATA | kind::HEADERS) {
            return;
        }
        let arrived = streams.entry(frame.stream).or_default();
        if frame.kind == kind::HEADERS {
            if arrived.blocks == 0 {
                arrived.first = frame.payload.first().copied().unwrap_or_default();
            }
            arrived.blocks += 1;
        } else {
            arrived.body.extend_from_slice(&frame.payload);
        }
        arrived.complete |= frame.flags & flag::END_STREAM != 0;
    }

    /// Whether it is a response with status 200: that has an index of its own (RFC 7541, appendix A).
    pub fn is_ok(&self) -> bool {
        self.first == 0x88
    }

    /// As a message that a connection carried.
    pub fn judge(may: May, arrived: &[&Self]) -> Result<(), String> {
        let complete: Vec<_> = arrived.iter().filter(|arrived| arrived.complete).collect();
        match (may, complete.as_slice()) {
            (Vanish, []) if !arrived.is_empty() => Err(format!("a message began: {arrived:?}")),
            (_, []) => Ok(()),
            (Become(body), [only]) if only.body == body.as_bytes() && arrived.len() == 1 => Ok(()),
            _ => Err(format!("it arrived: {arrived:?}")),
        }
    }
}
