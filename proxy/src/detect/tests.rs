//! Tests that detection does not depend on how bytes are split, and survives invalid input.

use rand::{Rng, SeedableRng, rngs::StdRng};
use rustls::{client::UnbufferedClientConnection, unbuffered::ConnectionState};

use super::*;

const NAME: &str = "web.default.serviceaccount.identity.linkerd.cluster.local";

/// The ClientHello that rustls sends with weft's configuration.
fn real_hello(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = UnbufferedClientConnection::new(config.into(), name).unwrap();
    let mut hello = vec![0; 4096];
    let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process_tls_records(&mut []).state else {
        panic!("a client sends first")
    };
    let n = data.encode(&mut hello).unwrap();
    hello.truncate(n);
    hello
}

/// A handmade ClientHello, with GREASE values as browsers send them.
fn handmade(sni: Option<&str>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend([0, 4, 0x5a, 0x5a, 0x13, 0x01, 1, 0]);
    let mut extensions = vec![0x1a, 0x1a, 0, 0];
    if let Some(name) = sni {
        let n = name.len() as u16;
        extensions.extend([0, 0]);
        extensions.extend((n + 5).to_be_bytes());
        extensions.extend((n + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend(n.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    extensions.extend([0x2a, 0x2a, 0, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    message
}

/// Splits a handshake message into records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    message.chunks(size).flat_map(record).collect()
}

fn tls(sni: &str) -> Hello {
    Hello::Tls { sni: Some(sni.to_owned()) }
}

#[test]
fn a_hello_of_rustls_is_recognized_at_every_split() {
    let hello = real_hello(NAME);
    assert!(hello.len() > 1300, "the hybrid key share is missing: {} bytes", hello.len());
    for n in 0..hello.len() {
        assert_eq!(client_hello(&hello[..n]), Hello::Incomplete, "first {n} bytes");
    }
    assert_eq!(client_hello(&hello), tls(NAME));
    let message = &hello[5..];
    for size in 1..message.len() {
        let split = records(message, size);
        assert_eq!(client_hello(&split), tls(NAME), "records of {size}");
        assert_eq!(client_hello(&split[..split.len() - 1]), Hello::Incomplete, "records of {size}");
    }
}

#[test]
fn handmade_hellos_are_recognized() {
    let message = handmade(Some("Web.Example"));
    for version in 0..=4 {
        let mut hello = records(&message, 1000);
        hello[2] = version;
        assert_eq!(client_hello(&hello), tls("web.example"), "legacy version 3.{version}");
    }
    assert_eq!(client_hello(&records(&handmade(None), 1000)), Hello::Tls { sni: None });
    for size in [1, 2, 3, 4, 5, 40, 100] {
        let hello = records(&message, size);
        for n in 0..hello.len() {
            assert_eq!(client_hello(&hello[..n]), Hello::Incomplete, "{n} bytes of records of {size}");
        }
        // Early data or another message may follow.
        let more = [&hello[..], b"\x17\x03\x03"].concat();
        assert_eq!(client_hello(&more), tls("web.example"));
        let more = [&hello[..], &[23; 20_000]].concat();
        assert_eq!(client_hello(&more), tls("web.example"));
    }
}

#[test]
fn a_trailing_dot_is_not_part_of_the_name() {
    let hello = |name| client_hello(&records(&handmade(Some(name)), 1000));
    assert_eq!(hello("web.example."), tls("web.example"));
    assert_eq!(hello("."), Hello::Malformed);
}

#[test]
fn an_alert_between_the_records_is_malformed() {
    let message = handmade(Some("web"));
    let mut hello = records(&message[..10], 10);
    hello.extend([21, 3, 3, 0, 2, 1, 0]);
    hello.extend(records(&message[10..], 1000));
    assert_eq!(client_hello(&hello), Hello::Malformed);
}

#[test]
fn the_sni_must_be_one_host_name() {
    let body = |message: &[u8]| client_hello(&records(message, 5000));
    let mut twice = handmade(Some("a"));
    let sni = twice.windows(10).position(|w| w == [0, 0, 0, 6, 0, 4, 0, 0, 1, b'a']).unwrap();
    let extension = twice[sni..sni + 10].to_vec();
    twice.splice(sni..sni, extension);
    let grow = |m: &mut Vec<u8>, at: usize| {
        let n = u16::from_be_bytes([m[at], m[at + 1]]) + 10;
        m[at..at + 2].copy_from_slice(&n.to_be_bytes());
    };
    grow(&mut twice, 2);
    grow(&mut twice, sni - 6);
    assert_eq!(body(&twice), Hello::Malformed);
    for bad in ["", "ä", &"a".repeat(256)] {
        assert_eq!(body(&handmade(Some(bad))), Hello::Malformed, "{bad:?}");
    }
}

#[test]
fn other_protocols_are_recognized_at_the_first_difference() {
    for (bytes, expected) in [
        (&b""[..], Hello::Incomplete),
        (b"G", Hello::NotTls),
        (b"GET / HTTP/1.1\r\n", Hello::NotTls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Hello::NotTls),
        (b"SSH-2.0-OpenSSH\r\n", Hello::NotTls),
        (&[0, 0, 0, 8, 4, 210, 22, 47], Hello::NotTls), // postgres SSLRequest
        (&[0x16], Hello::Incomplete),
        (&[0x16, 2], Hello::NotTls),
        (&[0x16, 3, 5], Hello::NotTls),
        (&[0x16, 3, 1, 0, 0], Hello::NotTls),
        (&[0x16, 3, 1, 0x40, 1], Hello::NotTls),
        (&[0x16, 3, 1, 0, 5, 2], Hello::NotTls), // a ServerHello
        (&[0x15, 3, 3, 0, 2, 1, 0], Hello::NotTls),
        (&[0x80, 0x2e, 1, 3, 1], Hello::NotTls), // SSL 2
    ] {
        assert_eq!(client_hello(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn the_length_of_a_hello_is_limited() {
    assert_eq!(client_hello(&[22, 3, 1, 0, 9, 1, 0xff, 0xff, 0xff]), Hello::TooLarge);
    assert_eq!(client_hello(&[22, 3, 1, 0, 9, 1, 0, 0x40, 0]), Hello::TooLarge);
    // Many tiny records: their headers count, so this hello exceeds the limit.
    let message = [&[1, 0, 0x10, 0][..], &[0; 4096]].concat();
    let tiny_records = records(&message, 1);
    assert!(tiny_records.len() > MAX_HELLO);
    assert_eq!(client_hello(&tiny_records[..MAX_HELLO - 1]), Hello::Incomplete);
    assert_eq!(client_hello(&tiny_records[..MAX_HELLO]), Hello::TooLarge);
    assert_eq!(client_hello(&tiny_records), Hello::TooLarge);
}

#[test]
fn random_and_mutated_input_never_panics_and_results_are_final() {
    let mut rng = StdRng::seed_from_u64(7);
    let seeds = [real_hello(NAME), records(&handmade(Some("web.example")), 20)];
    for round in 0..20_000 {
        let mut bytes = match round % 4 {
            0 => (0..rng.random_range(0..200)).map(|_| rng.random()).collect(),
            n => seeds[n % 2].clone(),
        };
        if round % 4 == 3 {
            bytes.truncate(rng.random_range(0..=bytes.len()));
        }
        for _ in 0..rng.random_range(0..4) {
            if let Some(i) = bytes.len().checked_sub(1) {
                bytes[rng.random_range(0..=i)] = rng.random();
            }
        }
        // More bytes must not change a final result.
        let length = rng.random_range(0..=bytes.len());
        let early = client_hello(&bytes[..length]);
        let late = client_hello(&bytes);
        assert!(early == Hello::Incomplete || early == late, "{early:?} then {late:?} for {bytes:?}");
    }
}
