//! Checks requests, and takes off the headers that concern one connection only (RFC 9110, section 7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme, Uri},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(super) const CLIENT_ID: HeaderName = HeaderName::from_static("l5d-client-id");

/// About how many bytes a request's head takes.
pub(super) fn size<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter();
    fields.fold(target, |size, (name, value)| size + name.as_str().len() + value.len())
}

/// Refuses what two HTTP implementations could understand in two ways. hyper and h2 have refused most of it already.
///
/// # Errors
/// What is wrong.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err("more than one Host header");
    }
    match request.version() {
        Version::HTTP_2 => {
            let authority = request.uri().authority();
            if let (Some(host), Some(authority)) = (host, authority)
                && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
            {
                return Err("Host and :authority differ");
            }
            if authority.is_some_and(|authority| authority.as_str().contains('@')) {
                return Err("a user name in :authority");
            }
            let target = request.uri().path_and_query().map(PathAndQuery::as_str);
            let is_all = |target| target == "*" && request.method() == Method::OPTIONS;
            if target.is_some_and(|target| !target.starts_with('/') && !is_all(target)) {
                return Err("a :path that begins without a slash");
            }
            check_http2_fields(headers)?;
        }
        version => {
            if host.is_none() && version == Version::HTTP_11 {
                return Err("no Host header");
            }
            check_framing(headers)?;
        }
    }
    Ok(())
}

/// Gives a request of HTTP/2 that has only a Host the authority that this names (RFC 9113, section 8.3.1).
///
/// # Errors
/// It names none.
pub(super) fn complete_authority<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    if request.version() != Version::HTTP_2 || request.uri().authority().is_some() {
        return Ok(());
    }
    let host = request.headers().get(HOST).filter(|host| !host.is_empty());
    let host = host.ok_or("neither :authority nor Host")?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| "a Host header that names no host")?;
    if authority.as_str().contains('@') {
        return Err("a user name in Host");
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| "an invalid request target")?;
    Ok(())
}

/// Refuses what two clients could understand in two ways.
///
/// # Errors
/// What is wrong.
pub(super) fn check_response<B>(response: &Response<B>) -> Result<(), &'static str> {
    if response.version() != Version::HTTP_2 {
        return Ok(());
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("status 101 over HTTP/2");
    }
    check_http2_fields(response.headers())
}

/// What h2 does not check: RFC 9113, section 8.2.1, and RFC 9110, section 8.6.
fn check_http2_fields(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("more than one Content-Length");
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let has_blank_end =
        |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
    if headers.values().any(has_blank_end) {
        return Err("a field value that begins or ends with a blank");
    }
    Ok(())
}

/// RFC 9112, section 6: one way to know where a body ends.
fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Ok(()) };
    if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err("a Transfer-Encoding other than chunked");
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err("both Transfer-Encoding and Content-Length");
    }
    Ok(())
}

/// Whether a request asks for another protocol on its connection.
pub(super) fn is_upgrade<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::CONNECT
        || (request.version() == Version::HTTP_11
            && headers.contains_key(UPGRADE)
            && lists(headers, &CONNECTION, "upgrade")
            // HTTP/2 in the place of HTTP/1 would escape the policy on requests. Nobody needs it: RFC 9113 has dropped it.
            && !lists(headers, &UPGRADE, "h2c"))
}

/// Whether a request is one of RFC 8441: a tunnel for a protocol that it names.
pub(super) fn is_extended_connect<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT && request.extensions().get::<hyper::ext::Protocol>().is_some()
}

/// Takes off what concerns the client's connection. `upgrade`: the request asks for another protocol.
pub(super) fn strip_request(headers: &mut HeaderMap, upgrade: bool) {
    let wants_trailers = lists(headers, &TE, "trailers");
    let lists_te = lists(headers, &CONNECTION, "te");
    let protocol = headers.get(UPGRADE).filter(|_| upgrade).cloned();
    strip(headers);
    headers.remove(HTTP2_SETTINGS);
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    if !wants_trailers {
        headers.remove(TE);
    } else if headers.get(TE).is_none_or(|te| te.as_bytes() != b"trailers") {
        // The only one that a proxy can promise.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if wants_trailers && lists_te {
        headers.append(CONNECTION, HeaderValue::from_static("TE"));
    }
}

/// Takes off what concerns the application's connection. `upgrade`: the response is a 101.
pub(super) fn strip_response(headers: &mut HeaderMap, upgrade: bool) {
    let protocol = headers.get(UPGRADE).cloned();
    strip(headers);
    // A server may name the protocols that it speaks in any response.
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        if upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // A client cannot have the frame of the message taken off.
            .filter(|name| ![HOST, TRANSFER_ENCODING, header::CONTENT_LENGTH, TE].contains(name))
            .collect();
        headers.remove(CONNECTION);
        named.iter().for_each(|name| drop(headers.remove(name)));
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, UPGRADE] {
        headers.remove(name);
    }
}

/// Takes off all headers that only Linkerd's proxies may set.
pub(super) fn strip_linkerd(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("l5d-")) {
        let names: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("l5d-")).cloned().collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// Whether a request, and so its response, is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web")
    })
}

/// Whether a comma-separated header has `token`.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.split(';').next().unwrap_or(item).trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        request
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        let check = |headers: &[(&str, &str)]| check(&request(headers));
        assert_eq!(check(&[("host", "a")]), Ok(()));
        assert_eq!(check(&[("host", "a"), ("transfer-encoding", "Chunked")]), Ok(()));
        for bad in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "1")],
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ambiguous_requests_of_http2_are_refused() {
        let check = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = request(headers);
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = uri.parse().unwrap();
            check(&request)
        };
        assert_eq!(check("http://a/b", &[("host", "A"), ("content-length", "1"), ("x", "a b")]), Ok(()));
        assert!(check("http://a/b", &[("host", "b")]).is_err());
        assert!(check("http://user@a/b", &[]).is_err());
        assert!(check("http://a/b", &[("content-length", "1"), ("content-length", "1")]).is_err());
        assert!(check("*", &[]).is_err());
    }

    #[test]
    fn host_stands_for_a_missing_authority_of_http2() {
        let completed = |version, host: &[(&str, &str)]| {
            let mut request = request(host);
            *request.version_mut() = version;
            *request.uri_mut() = "/a?b".parse().unwrap();
            complete_authority(&mut request).map(|()| request.uri().to_string())
        };
        assert_eq!(completed(Version::HTTP_2, &[("host", "x:80")]), Ok("http://x:80/a?b".to_owned()));
        assert_eq!(completed(Version::HTTP_11, &[("host", "x")]), Ok("/a?b".to_owned()));
        for bad in [&[][..], &[("host", "")], &[("host", "user@x")], &[("host", "x y")], &[("host", "x/y")]] {
            assert!(completed(Version::HTTP_2, bad).is_err(), "{bad:?}");
        }
        let mut named = Request::get("http://y/").version(Version::HTTP_2).body(()).unwrap();
        assert_eq!(complete_authority(&mut named), Ok(()));
        assert_eq!(named.uri(), "http://y/");
    }

    #[test]
    fn ambiguous_responses_of_http2_are_refused() {
        let check = |version, name, value| {
            let response = Response::builder().version(version).header(name, HeaderValue::from_static(value));
            check_response(&response.body(()).unwrap())
        };
        assert_eq!(check(Version::HTTP_2, "x", "a b"), Ok(()));
        assert_eq!(check(Version::HTTP_11, "x", "a "), Ok(()));
        assert!(check(Version::HTTP_2, "x", "a ").is_err());
        assert!(check(Version::HTTP_2, "x", "\ta").is_err());
    }

    #[test]
    fn headers_of_the_connection_are_taken_off() {
        let mut request = request(&[
            ("host", "a"),
            ("connection", "keep-alive, X-Own, Host"),
            ("keep-alive", "5"),
            ("x-own", "1"),
            ("te", "trailers, deflate"),
            ("accept", "*/*"),
        ]);
        strip_request(request.headers_mut(), false);
        let left: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(left, [("host", "a"), ("accept", "*/*"), ("te", "trailers")]);
    }

    #[test]
    fn an_upgrade_keeps_its_headers_and_h2c_is_ignored() {
        let mut websocket = request(&[("host", "a"), ("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert!(is_upgrade(&websocket));
        strip_request(websocket.headers_mut(), true);
        assert_eq!(websocket.headers()["upgrade"], "websocket");
        assert_eq!(websocket.headers()["connection"], "Upgrade");
        let connection = ("connection", "Upgrade, HTTP2-Settings");
        let h2c = request(&[("host", "a"), connection, ("upgrade", "h2c"), ("http2-settings", "x")]);
        assert!(!is_upgrade(&h2c));
    }
}
