//! What every answer carries, and how a call fails.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::window::Window;

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    pub meta: Meta,
    pub data: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// When the figures were evaluated.
    pub at: f64,
    pub window: Window,
    pub source: Source,
    /// What is missing from the answer.
    pub warnings: Vec<Warning>,
}

/// Where figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Prometheus,
    /// Prometheus is not installed, or does not answer: the last minute was read from the proxies.
    Proxies,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// `node_not_scraped`, `history_too_short`, `truncated`, `source_slow`, `prometheus_unavailable`, or another word.
    pub code: String,
    pub message: String,
}

/// The body of an answer with a status from 400 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: Failure,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadRequest,
    HostNotAllowed,
    OriginNotAllowed,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooManyTaps,
    TapDisabled,
    PrometheusUnavailable,
    ClusterUnavailable,
    Timeout,
    Internal,
    /// One that a later version has.
    #[serde(untagged)]
    Other(String),
}

impl ErrorCode {
    /// The word for it, and the HTTP status that goes with it.
    pub fn parts(&self) -> (&str, u16) {
        match self {
            Self::BadRequest => ("bad_request", 400),
            Self::HostNotAllowed => ("host_not_allowed", 400),
            Self::OriginNotAllowed => ("origin_not_allowed", 403),
            Self::Forbidden => ("forbidden", 403),
            Self::NotFound => ("not_found", 404),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::TooManyTaps => ("too_many_taps", 429),
            Self::TapDisabled => ("tap_disabled", 409),
            Self::PrometheusUnavailable => ("prometheus_unavailable", 503),
            Self::ClusterUnavailable => ("cluster_unavailable", 503),
            Self::Timeout => ("timeout", 504),
            Self::Internal => ("internal", 500),
            Self::Other(code) => (code, 500),
        }
    }
}

impl Failure {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}: {hint}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}
