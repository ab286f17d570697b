//! The header in front of a connection to the inbound port of a Linkerd sidecar: it says which port of the pod is meant,
//! and what follows.

use crate::tls::Inner;

/// The protocol by which client and sidecar agree on the header (RFC 7301).
pub(super) const ALPN: &[u8] = b"transport.l5d.io/v1";

const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";

/// The header, for a connection to `port` of the pod.
///
/// After the preface and a length comes a protobuf message: `int32 port = 1`, and `session_protocol = 3` with an empty
/// message, `http1 = 1` or `http2 = 2`; without it the bytes that follow are opaque.
pub(super) fn encode(port: u16, inner: Inner) -> Vec<u8> {
    let mut message = vec![1 << 3];
    varint(port, &mut message);
    match inner {
        Inner::Http1 => message.extend([3 << 3 | 2, 2, 1 << 3 | 2, 0]),
        Inner::Http2 => message.extend([3 << 3 | 2, 2, 2 << 3 | 2, 0]),
        Inner::Tcp | Inner::Unknown => {}
    }
    // At most 8 bytes.
    let length = [0, 0, 0, message.len() as u8];
    [PREFACE, &length, &message].concat()
}

fn varint(mut value: u16, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_linkerds_byte_by_byte() {
        let header = |length: u8, message: &[u8]| {
            [&b"transport.l5d.io/v1\r\n\r\n\0\0\0"[..], &[length], message].concat()
        };
        assert_eq!(PREFACE.len(), 23);
        assert_eq!(encode(80, Inner::Tcp), header(2, &[0x08, 80]));
        assert_eq!(encode(8080, Inner::Http1), header(7, &[0x08, 0x90, 0x3f, 0x1a, 2, 0x0a, 0]));
        assert_eq!(encode(65_535, Inner::Http2), header(8, &[0x08, 0xff, 0xff, 0x03, 0x1a, 2, 0x12, 0]));
    }
}
