//! A client of Prometheus' HTTP API. Everything that Prometheus sends is bounded in size and time.

use std::{io, path::PathBuf, time::Duration};

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};

use super::{
    credentials::Credentials,
    transport::{Transport, TransportError},
};

const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Groups in one answer.
pub(crate) const MAX_SERIES: usize = 100_000;
/// How much of an error's text is shown.
const MAX_ERROR_TEXT: usize = 300;

#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    base: String,
    credentials: Credentials,
}

/// Why Prometheus gave no usable answer. The texts continue "Prometheus at …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrometheusError {
    #[error("does not answer: {0}")]
    Unreachable(String),
    #[error("took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("answers with status {status}: {text}")]
    Status { status: u16, text: String },
    #[error("answers with more than {} MiB", .0 / 1024 / 1024)]
    TooLarge(usize),
    #[error("answers with more than {0} series")]
    TooManySeries(usize),
    #[error("answers something that is not of its API: {0}")]
    Nonsense(String),
    #[error("cannot be asked: the credentials cannot be read: {0}")]
    Credentials(io::Error),
    #[error("cannot be asked: {0}")]
    Transport(#[from] TransportError),
}

impl PrometheusError {
    /// The word for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Status { .. } => "status",
            Self::TooLarge(_) | Self::TooManySeries(_) => "too_large",
            Self::Nonsense(_) => "nonsense",
            Self::Credentials(_) | Self::Transport(_) => "credentials",
        }
    }
}

impl Client {
    /// `base` is a URL as in `http://prometheus.weft-viz:9090`, with a path if Prometheus has one. `authorities` is a file
    /// with the certificates of those who may vouch for it; without one, they are the public ones.
    pub(crate) fn new(
        base: &str,
        credentials: Credentials,
        authorities: Option<PathBuf>,
    ) -> Result<Self, String> {
        let parsed: Uri = base.parse().map_err(|error| format!("{base:?} is not a URL: {error}"))?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
            return Err(format!("{base:?} is not a URL: write it as http://HOST:PORT or https://HOST:PORT"));
        }
        if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a URL with a password would be shown: give it with --prometheus-user".into());
        }
        if authorities.is_some() && parsed.scheme_str() != Some("https") {
            return Err(format!(
                "{base:?} is not secured by TLS, so --prometheus-ca has no meaning: write https://"
            ));
        }
        let transport = Transport::new(authorities).map_err(|error| format!("--prometheus-ca: {error}"))?;
        Ok(Self { transport, base: base.trim_end_matches('/').to_owned(), credentials })
    }

    /// What to call it.
    pub(crate) fn name(&self) -> &str {
        &self.base
    }

    /// The body of a successful answer of `/api/v1/PATH`.
    pub(crate) async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<u8>, PrometheusError> {
        match tokio::time::timeout(TIMEOUT, self.get_now(path, parameters)).await {
            Ok(result) => result,
            Err(_) => Err(PrometheusError::Timeout(TIMEOUT)),
        }
    }

    async fn get_now(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>, PrometheusError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mut request = Request::get(format!("{}/api/v1/{path}?{query}", self.base));
        if let Some(value) = self.credentials.header().map_err(PrometheusError::Credentials)? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| PrometheusError::Unreachable(format!("the question is no request: {error}")))?;
        let response = self
            .transport
            .http()?
            .request(request)
            .await
            .map_err(|error| PrometheusError::Unreachable(innermost(&error)))?;
        let status = response.status();
        let body = match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(PrometheusError::TooLarge(MAX_ANSWER));
            }
            Err(error) => return Err(PrometheusError::Unreachable(error.to_string())),
        };
        // Of an error in the question, Prometheus says what is wrong, in its usual form.
        if !status.is_success() {
            return Err(PrometheusError::Status { status: status.as_u16(), text: error_text(&body) });
        }
        Ok(body)
    }
}

fn error_text(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = match json.as_ref().and_then(|json| json["error"].as_str()) {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(&body[..body.len().min(4 * MAX_ERROR_TEXT)]).into_owned(),
    };
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_TEXT).collect();
    text.trim().to_owned()
}

/// The text of the last cause: the outer ones only say that connecting failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
