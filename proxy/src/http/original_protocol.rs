//! HTTP/1 that a Linkerd sidecar carries over HTTP/2, marked by `l5d-orig-proto`.

use http::{
    HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{HOST, TRANSFER_ENCODING},
};

const ORIG_PROTO: HeaderName = HeaderName::from_static("l5d-orig-proto");

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
    fn other_requests_stay_as_they_are() {
        let mut plain = Request::builder().version(Version::HTTP_2).uri("http://web/").body(()).unwrap();
        assert!(OriginalProtocol::restore(&mut plain).unwrap().is_none());
        assert_eq!(plain.version(), Version::HTTP_2);
        assert!(OriginalProtocol::restore(&mut marked("http://web/", "HTTP/3")).is_err());
    }
}
