//! Detection decides the same however the bytes are split, and agrees with parsers of others.

use proptest::prelude::*;
use rustls::server::Acceptor;

use super::{Hello, Http, MAX_HELLO, MAX_REQUEST_LINE, client_hello, http};
use crate::fuzz::{corpus, fuzz, mutated, split};

const HTTP_WORDS: &[&str] = &[
    "\r\n",
    "\n",
    " ",
    "GET",
    "PRI * HTTP/2.0",
    "SM\r\n\r\n",
    " HTTP/1.1\r\n",
    "HTTP/1.",
    "\0",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
    "/",
    "*",
    ":",
];
const HELLO_WORDS: &[&str] = &["\u{16}\u{3}\u{1}", "\0", "\0\0", "\0\u{1}", "\u{1}", "a", ".", "web.example"];

#[test]
fn http_is_detected_however_it_is_split() {
    fuzz("HTTP detection", &split(mutated(corpus("first-bytes"), HTTP_WORDS)), |parts| {
        let bytes = parts.concat();
        let late = http(&bytes);
        let mut end = 0;
        for part in &parts {
            end += part.len();
            let early = http(&bytes[..end]);
            let open = matches!(early, Http::Likely | Http::Possible);
            prop_assert!(open || early == late, "{:?}, then {:?}", early, late);
        }
        let mut padded = bytes.clone();
        padded.resize(bytes.len() + MAX_REQUEST_LINE + 64, b'a');
        prop_assert!(!matches!(http(&padded), Http::Likely | Http::Possible), "the wait has no bound");
        let empty_lines = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let one_empty_line = matches!(&bytes[..empty_lines], b"" | b"\n" | b"\r\n");
        if one_empty_line && is_request(&bytes) {
            prop_assert_eq!(late, Http::Http1, "httparse reads a request");
        }
        Ok(())
    });
}

/// Whether httparse reads a head whose method has a usual length.
fn is_request(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    matches!(request.parse(bytes), Ok(httparse::Status::Complete(_)))
        && request.method.is_some_and(|method| method.len() <= 32)
}

#[test]
fn hellos_are_detected_however_they_are_split() {
    fuzz("ClientHello", &split(mutated(corpus("hellos"), HELLO_WORDS)), |parts| {
        let bytes = parts.concat();
        let late = client_hello(&bytes);
        let mut end = 0;
        for part in &parts {
            end += part.len();
            let early = client_hello(&bytes[..end]);
            prop_assert!(early == Hello::Incomplete || early == late, "{:?}, then {:?}", early, late);
        }
        let mut padded = bytes.clone();
        padded.resize(bytes.len().max(MAX_HELLO), b'a');
        prop_assert_ne!(client_hello(&padded), Hello::Incomplete, "the wait has no bound");
        if let (Hello::Tls { sni }, Some(by_rustls)) = (late, by_rustls(&bytes)) {
            prop_assert_eq!(sni, by_rustls, "rustls reads another name");
        }
        Ok(())
    });
}

/// The name that rustls reads; `None` if it accepts no ClientHello.
fn by_rustls(mut bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Some(accepted.client_hello().server_name().map(str::to_ascii_lowercase));
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
    None
}
