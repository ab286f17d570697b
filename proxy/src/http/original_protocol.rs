//! HTTP/1 that is carried over HTTP/2 from or to a Linkerd sidecar, marked by `l5d-orig-proto`.

use std::net::SocketAddr;

use http::{
    HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING},
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

const ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");

/// A request of HTTP/1 that goes to a sidecar over HTTP/2; its version.
pub(super) struct CarriedProtocol(Version);

impl CarriedProtocol {
    /// Makes the request one of HTTP/2. `default` is its authority if it names none.
    ///
    /// # Errors
    /// It has no equivalent in HTTP/2.
    pub(super) fn carry<B>(request: &mut Request<B>, default: SocketAddr) -> Result<Self, &'static str> {
        let version = request.version();
        let absolute = request.uri().authority().cloned();
        let mark = match (version, &absolute) {
            (Version::HTTP_10, None) => "HTTP/1.0",
            (Version::HTTP_10, Some(_)) => "HTTP/1.0; absolute-form",
            (_, None) => "HTTP/1.1",
            (_, Some(_)) => "HTTP/1.1; absolute-form",
        };
        match absolute {
            // It replaces what Host says (RFC 9112, section 3.2.2).
            Some(authority) => {
                let host = HeaderValue::from_str(authority.as_str()).map_err(|_| NO_AUTHORITY)?;
                request.headers_mut().insert(HOST, host);
            }
            None => {
                let authority = match request.headers().get(HOST) {
                    Some(host) if !host.is_empty() => Authority::try_from(host.as_bytes()),
                    _ => Authority::try_from(default.to_string()),
                };
                let mut parts = Parts::default();
                parts.scheme = Some(Scheme::HTTP);
                parts.authority = Some(authority.map_err(|_| NO_AUTHORITY)?);
                let target = request.uri().path_and_query().cloned();
                parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
                *request.uri_mut() = Uri::from_parts(parts).map_err(|_| "an invalid request target")?;
            }
        }
        // HTTP/2 forbids both (RFC 9113, section 8.2.2).
        request.headers_mut().remove(TRANSFER_ENCODING);
        request.headers_mut().remove(CONNECTION);
        request.headers_mut().insert(ORIG_PROTO, HeaderValue::from_static(mark));
        *request.version_mut() = Version::HTTP_2;
        Ok(Self(version))
    }

    /// Makes the response what the sidecar's application has sent.
    pub(super) fn restore<B>(&self, response: &mut Response<B>) {
        let mark = response.headers_mut().remove(ORIG_PROTO);
        *response.version_mut() = match mark.as_ref().map(HeaderValue::as_bytes) {
            Some(b"HTTP/1.0") => Version::HTTP_10,
            Some(b"HTTP/1.1") => Version::HTTP_11,
            _ => self.0,
        };
    }
}

const NO_AUTHORITY: &str = "a Host header that names no host";

/// A request that was HTTP/1 at its source.
pub(super) struct OriginalProtocol;

impl OriginalProtocol {
    /// Makes the request what it was. `None`: it carries no mark.
    ///
    /// # Errors
    /// The mark makes no sense.
    pub(super) fn restore<B>(request: &mut Request<B>) -> Result<Option<Self>, &'static str> {
        if request.version() != Version::HTTP_2 {
            return Ok(None);
        }
        let Some(mark) = request.headers_mut().remove(ORIG_PROTO) else { return Ok(None) };
        let mark = mark.to_str().unwrap_or_default();
        let (version, form) = mark.split_once(';').unwrap_or((mark, ""));
        *request.version_mut() = match version.trim() {
            "HTTP/1.1" => Version::HTTP_11,
            "HTTP/1.0" => Version::HTTP_10,
            _ => return Err("an l5d-orig-proto that is neither HTTP/1.1 nor HTTP/1.0"),
        };
        if let Some(authority) = request.uri().authority()
            && !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        if form.trim() != "absolute-form" {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            *request.uri_mut() = target.parse::<Uri>().map_err(|_| "an invalid request target")?;
        }
        Ok(Some(Self))
    }

    /// Tells the sidecar the version of the application's response.
    pub(super) fn mark<B>(&self, response: &mut Response<B>) {
        let version = match response.version() {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        response.headers_mut().remove(TRANSFER_ENCODING);
        response.headers_mut().insert(ORIG_PROTO, HeaderValue::from_static(version));
        *response.version_mut() = Version::HTTP_2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(uri: &str, mark: &str) -> Request<()> {
        Request::builder().version(Version::HTTP_2).uri(uri).header(ORIG_PROTO, mark).body(()).unwrap()
    }

    #[test]
    fn a_marked_request_becomes_what_it_was() {
        let mut request = marked("http://web:80/a?b", "HTTP/1.1");
        assert!(OriginalProtocol::restore(&mut request).unwrap().is_some());
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/a?b", &HeaderValue::from_static("web:80"))
        );
        let mut absolute = marked("http://web/a", "HTTP/1.0; absolute-form");
        assert!(OriginalProtocol::restore(&mut absolute).unwrap().is_some());
        assert_eq!(
            (absolute.version(), absolute.uri().to_string().as_str()),
            (Version::HTTP_10, "http://web/a")
        );
    }

    #[test]
    fn a_carried_request_is_restored_to_what_it_was() {
        let default = SocketAddr::from(([10, 0, 0, 1], 80));
        for (version, target, host, uri, mark) in [
            (Version::HTTP_11, "/a?b", Some("web:80"), "http://web:80/a?b", "HTTP/1.1"),
            (Version::HTTP_10, "/", None, "http://10.0.0.1:80/", "HTTP/1.0"),
            (Version::HTTP_11, "http://web/a", Some("web"), "http://web/a", "HTTP/1.1; absolute-form"),
        ] {
            let mut request = Request::builder().version(version).uri(target);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let mut request = request.header(TRANSFER_ENCODING, "chunked").body(()).unwrap();
            let carried = CarriedProtocol::carry(&mut request, default).unwrap();
            assert_eq!(
                (request.version(), request.uri().to_string().as_str(), &request.headers()[ORIG_PROTO]),
                (Version::HTTP_2, uri, &HeaderValue::from_static(mark))
            );
            assert!(!request.headers().contains_key(TRANSFER_ENCODING));

            let original = OriginalProtocol::restore(&mut request).unwrap().unwrap();
            assert_eq!((request.version(), request.uri().to_string().as_str()), (version, target));
            assert_eq!(request.headers()[HOST], host.unwrap_or("10.0.0.1:80"));
            let mut response = Response::builder().version(Version::HTTP_10).body(()).unwrap();
            original.mark(&mut response);
            carried.restore(&mut response);
            assert_eq!((response.version(), response.headers().len()), (Version::HTTP_10, 0));
        }
        let mut bad = Request::builder().uri("/").header(HOST, "not a host").body(()).unwrap();
        assert!(CarriedProtocol::carry(&mut bad, default).is_err());
    }

    #[test]
    fn other_requests_stay_as_they_are() {
        let mut plain = Request::builder().version(Version::HTTP_2).uri("http://web/").body(()).unwrap();
        assert!(OriginalProtocol::restore(&mut plain).unwrap().is_none());
        assert_eq!(plain.version(), Version::HTTP_2);
        assert!(OriginalProtocol::restore(&mut marked("http://web/", "HTTP/3")).is_err());
    }
}
