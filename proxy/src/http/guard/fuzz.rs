//! What the guard passes, others must read as it does: a reference on httparse, and hyper.

use std::cell::RefCell;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::{super::headers::is_upgrade, Guard, REFUSED, State, chunks::Chunks};
use crate::fuzz::{corpus, fuzz, mutated, split};

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ";",
    "0",
    "0\r\n\r\n",
    "1",
    "\0",
    "\r\n ",
    "a",
    "10",
    "GET / HTTP/1.1\r\n",
    "HTTP/1.0",
    "Host: a\r\n",
    "Content-Length: 4\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 4, 4\r\n",
    "content-length:5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "transfer-encoding:\tchunked \r\n",
    "Connection: Upgrade\r\nUpgrade: x\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "5\r\nhello\r\n",
    "\u{e5}",
];
const MAX_HEAD: usize = 64 * 1024;

/// A whole request: its target and its body.
type Seen = (String, Vec<u8>);

#[test]
fn requests_have_the_same_boundaries_for_everybody() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz("request guard", &split(mutated(corpus("requests"), WORDS)), |parts| {
        let (passed, state, why) = pass(&parts);
        let (at_once, _, why_at_once) = pass(&[parts.concat().into()]);
        prop_assert_eq!(why, why_at_once, "the verdict depends on how the input is split");
        // A body that breaks takes the rest of its read along.
        prop_assert!(passed.starts_with(&at_once) || at_once.starts_with(&passed));

        let sound = passed.strip_suffix(REFUSED).unwrap_or(&passed);
        let reference = match Reference::read(sound) {
            Ok(reference) => reference,
            // The start of a line that broke the body has passed: hyper refuses it as well.
            Err(_) if why.is_some() && matches!(state, State::Chunks(_)) => return Ok(()),
            Err(wrong) => return Err(TestCaseError::fail(wrong)),
        };
        if why.is_none() {
            prop_assert_eq!(&reference.end, &Place::of(&state));
        }
        let by_hyper = runtime.block_on(read_by_hyper(sound));
        let (by_hyper, upgrades) = by_hyper;
        prop_assert!(!upgrades || (reference.end == Place::Open && reference.whole == by_hyper));
        prop_assert!(
            reference.whole.starts_with(&by_hyper),
            "hyper reads {:?}, the reference {:?}",
            by_hyper,
            reference.whole
        );
        Ok(())
    });
}

/// What passes, where it ends, and why something was refused.
fn pass(parts: &[Bytes]) -> (Vec<u8>, State, Option<&'static str>) {
    let (mut guard, mut passed, mut refused) = (Guard::new(MAX_HEAD), Vec::new(), None);
    for part in parts {
        let mut part = part.to_vec();
        match guard.check(&mut part) {
            Ok((count, why)) => {
                passed.extend_from_slice(&part[..count]);
                let waiting = guard.waiting().to_vec();
                guard.consume(waiting.len());
                passed.extend(waiting);
                refused = refused.or(why);
            }
            Err(why) => return (passed, guard.state, Some(refused.unwrap_or(why))),
        }
    }
    (passed, guard.state, refused)
}

/// Where a stream of requests ends.
#[derive(Debug, PartialEq)]
enum Place {
    BetweenRequests,
    InBody(u64),
    InChunks,
    /// After CONNECT or Upgrade.
    Open,
}

impl Place {
    fn of(state: &State) -> Self {
        match state {
            State::Head => Self::BetweenRequests,
            State::Body(left) => Self::InBody(*left),
            State::Chunks(Chunks { .. }) => Self::InChunks,
            State::Perhaps { .. } | State::Tunnel | State::Refused => Self::Open,
        }
    }
}

/// Reads requests by the letter of RFC 9112, with httparse.
struct Reference {
    whole: Vec<Seen>,
    end: Place,
}

impl Reference {
    fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let mut whole = Vec::new();
        loop {
            if bytes.is_empty() {
                return Ok(Self { whole, end: Place::BetweenRequests });
            }
            let mut fields = [httparse::EMPTY_HEADER; 512];
            let mut request = httparse::Request::new(&mut fields);
            let length = match request.parse(bytes) {
                Ok(httparse::Status::Complete(length)) => length,
                other => {
                    return Err(format!("a head that is {other:?}: {:?}", String::from_utf8_lossy(bytes)));
                }
            };
            let all = |name: &str| -> Vec<Vec<u8>> {
                let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
                named.map(|field| field.value.to_ascii_lowercase()).collect()
            };
            let target = request.path.unwrap_or_default().to_owned();
            let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
            let lists = |name: &str, member: &str| {
                let ascii = all(name).into_iter().filter_map(|value| String::from_utf8(value).ok());
                ascii.filter(|value| value.is_ascii()).any(|value| {
                    value.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == member))
                })
            };
            let upgrade = request.version == Some(1)
                && !all("upgrade").is_empty()
                && lists("connection", "upgrade")
                && !lists("upgrade", "h2c");
            let open = request.method == Some("CONNECT") || upgrade;
            bytes = &bytes[length..];
            let body = match (&lengths[..], &codings[..]) {
                ([], []) if open => return Ok(Self { whole, end: Place::Open }),
                ([], []) => Some((Vec::new(), 0)),
                ([length], []) => {
                    let text = std::str::from_utf8(length).map_err(|e| e.to_string())?;
                    let length: u64 = text.parse().map_err(|_| format!("a length of {text:?}"))?;
                    if length == 0 && open {
                        return Ok(Self { whole, end: Place::Open });
                    }
                    match usize::try_from(length).ok().and_then(|length| bytes.get(..length)) {
                        Some(body) => Some((body.to_vec(), body.len())),
                        None => {
                            let left = length - bytes.len() as u64;
                            return Ok(Self { whole, end: Place::InBody(left) });
                        }
                    }
                }
                ([], [coding]) if coding == b"chunked" && request.version == Some(1) => decode_chunks(bytes)?,
                _ => return Err(format!("lengths {lengths:?} and codings {codings:?} of {target}")),
            };
            let Some((body, length)) = body else { return Ok(Self { whole, end: Place::InChunks }) };
            whole.push((target, body));
            bytes = &bytes[length..];
        }
    }
}

/// The data of a chunked body and its length on the wire; `None` if it is not complete.
fn decode_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    // A line that is not complete is not judged.
    let complete =
        |at: usize| bytes[at..].iter().rposition(|byte| *byte == b'\n').map_or(at, |end| at + end + 1);
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        if !bytes[at..].contains(&b'\n') {
            return Ok(None);
        }
        let (line, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(e) => return Err(format!("a chunk size that is {e:?}")),
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(|e| e.to_string())?;
        let Some(end) = at.checked_add(size).filter(|end| *end <= bytes.len()) else { return Ok(None) };
        data.extend_from_slice(&bytes[at..end]);
        match &bytes[end..] {
            [b'\r', b'\n', ..] => at = end + 2,
            [] | [b'\r'] => return Ok(None),
            _ => return Err("a chunk that is longer than its size".to_owned()),
        }
    }
    let mut trailers = [httparse::EMPTY_HEADER; 512];
    match httparse::parse_headers(&bytes[at..complete(at)], &mut trailers) {
        Ok(httparse::Status::Complete((length, _))) => Ok(Some((data, at + length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(e) => Err(format!("trailers that are {e:?}")),
    }
}

/// The whole requests that hyper reads, with the settings of `server`, up to one that asks for another protocol; whether
/// there is one.
async fn read_by_hyper(bytes: &[u8]) -> (Vec<Seen>, bool) {
    let seen = RefCell::new((Vec::new(), false));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = &seen;
        async move {
            if seen.borrow().1 || is_upgrade(&request) && request.body().is_end_stream() {
                seen.borrow_mut().1 = true;
                return Ok(Response::new(Empty::<&[u8]>::new()));
            }
            let (head, body) = request.into_parts();
            let mut expected = head.headers.get_all(http::header::EXPECT).iter();
            assert!(expected.all(|value| value.as_bytes() != b"100-continue"), "hyper sees an expectation");
            if let Ok(body) = body.collect().await {
                seen.borrow_mut().0.push((head.uri.to_string(), body.to_bytes().to_vec()));
            }
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<&[u8]>::new()))
        }
    });
    let io = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    // Malformed input is an error here; what was read before counts.
    let _ = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(512)
        .serve_connection(io, service)
        .await;
    seen.into_inner()
}
