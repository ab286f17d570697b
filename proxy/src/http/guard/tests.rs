//! Checks what passes the guard, and what is refused.

use super::{Guard, MASKED_EXPECT};

/// What hyper reads if the client sends `bytes`, `step` at a time; and why something was refused.
fn pass(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Option<&'static str>), &'static str> {
    let (mut guard, mut read, mut refused) = (Guard::new(4096), Vec::new(), None);
    for part in bytes.chunks(step) {
        let mut part = part.to_vec();
        let (passed, why) = guard.check(&mut part)?;
        read.extend_from_slice(&part[..passed]);
        let waiting = guard.waiting().to_vec();
        guard.consume(waiting.len());
        read.extend(waiting);
        refused = refused.or(why);
    }
    Ok((read, refused))
}

#[test]
fn good_requests_pass_however_they_are_split() {
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /x HTTP/1.1\r\nhost:a\r\nContent-Length: 5\r\n\r\nhello\
        \r\nPUT /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n1f;x=\"y\"\r\n0123456789abcdef0123456789abcde\r\n0\r\nDigest: x\r\n\r\n\
        GET /z HTTP/1.0\r\n\r\n";
    for step in 1..requests.len() {
        assert_eq!(pass(requests, step), Ok((requests.to_vec(), None)), "{step} bytes at a time");
    }
}

#[test]
fn a_head_passes_only_when_it_is_complete() {
    let mut guard = Guard::new(4096);
    let mut part = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    assert_eq!(guard.check(&mut part), Ok((0, None)));
    assert_eq!(guard.within_head(), 25);
    assert_eq!(guard.waiting(), b"");
    assert_eq!(guard.check(&mut b"\r\n".to_vec()), Ok((0, None)));
    assert_eq!(guard.waiting(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn another_protocol_is_refused_before_its_head_is_complete() {
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0"[..],
        b"\0\0\0\x04PING",
        b"*1\r\n$4\r\nPING\r\n",
        b"PING\r\n",
        b"EHLO mail.example\r\n",
        b"GET /\r\n",
        b"GET /\0",
        b"PRI * HTTP/2.0\r\n",
        b"\r\n{}",
        b" ",
    ] {
        for step in [1, 5, bytes.len()] {
            let (read, refused) = pass(bytes, step).unwrap();
            assert!(refused.is_some() && read == b"REFUSED\r\n\r\n", "{bytes:?} by {step}: {refused:?}");
        }
    }
    for start in ["G", "GET ", "GET /x HTTP/1.1", "GET / HTTP/1.1\r\n", "\r", "\r\n", "\r\nGET", "frobnicate"]
    {
        assert_eq!(pass(start.as_bytes(), 1).unwrap(), (Vec::new(), None), "{start:?}");
    }
}

#[test]
fn an_expectation_is_hidden() {
    let request = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx";
    for step in [1, 7, request.len()] {
        let (read, _) = pass(request, step).unwrap();
        assert_eq!(read.len(), request.len());
        assert!(read.windows(MASKED_EXPECT.len()).any(|part| part == MASKED_EXPECT));
    }
    // The body of a request is not touched.
    let body = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(pass(body, body.len()).unwrap().0, body);
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n",
    ] {
        for step in [1, 5, bad.len()] {
            let (read, refused) = pass(bad.as_bytes(), step).unwrap();
            assert!(refused.is_some(), "{bad:?} by {step}");
            assert_eq!(read, b"REFUSED\r\n\r\n", "{bad:?} by {step}");
        }
    }
}

#[test]
fn bad_chunks_break_the_connection() {
    for bad in [
        "g\r\n",
        "\r\n",
        "-1\r\n",
        "1 x\r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "ffffffffffffffff\r\n",
        "1;\0\r\n",
        "1\x0c\r\na\r\n",
        "0\x0c\r\n\r\n",
        &format!("1;{}\r\na\r\n", "x".repeat(3000)).repeat(6),
        &"\r\n".repeat(2),
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
        for step in [1, request.len()] {
            assert!(pass(request.as_bytes(), step).is_err(), "{bad:?} by {step}");
        }
    }
}

#[test]
fn heads_are_bounded() {
    let mut long = b"GET / HTTP/1.1\r\nX: ".to_vec();
    long.resize(5000, b'a');
    assert_eq!(pass(&long, 100).unwrap().1, Some("a request head that is too large"));
    assert_eq!(pass(&long, long.len()).unwrap().1, Some("a request head that is too large"));
}

#[test]
fn what_only_resembles_an_upgrade_is_followed_by_a_request() {
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
        "Connection: upgrades\r\nUpgrade: x\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade \u{e9}\r\nUpgrade: x\r\n",
    ] {
        let requests = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\nGET /next HTTP/1.1\nHost: a\n\n");
        let (_, refused) = pass(requests.as_bytes(), requests.len()).unwrap();
        assert_eq!(refused, Some("a line that ends with LF alone"), "{fields:?}");
    }
}

#[test]
fn after_an_upgrade_everything_passes() {
    let mut guard = Guard::new(4096);
    let mut upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n".to_vec();
    let length = upgrade.len();
    assert_eq!(guard.check(&mut upgrade), Ok((length, None)));
    guard.becomes_tunnel();
    assert_eq!(guard.check(&mut b"\n\0anything".to_vec()), Ok((10, None)));

    let mut guard = Guard::new(4096);
    guard.check(&mut upgrade).unwrap();
    assert!(guard.stays_http());
    let mut guard = Guard::new(4096);
    guard.check(&mut upgrade).unwrap();
    guard.check(&mut b"early".to_vec()).unwrap();
    assert!(!guard.stays_http(), "it is not known where the next request begins");
}
