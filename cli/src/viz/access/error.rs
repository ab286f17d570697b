//! What weft-viz answers if it cannot do what it was asked.

use std::fmt;

use http::StatusCode;
use weft_api::viz::{ErrorBody, ErrorCode, Failure};

/// An error that weft-viz, or the API server before it, reports.
#[derive(Debug)]
pub(crate) struct VizError {
    /// None if the answer is not weft-viz's own.
    pub(crate) code: Option<ErrorCode>,
    message: String,
    hint: Option<String>,
}

impl VizError {
    /// The error in the body of an answer.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => body.error.into(),
            Err(_) => Self {
                code: None,
                message: kubernetes_message(body).unwrap_or_else(|| format!("the answer is HTTP {status}")),
                hint: None,
            },
        }
    }
}

impl VizError {
    /// Adds that the namespace, in which something was not found, is not one that the user has chosen.
    pub(super) fn in_default_namespace(mut self, namespace: &str) -> Self {
        if self.code == Some(ErrorCode::NotFound) {
            let hint = self.hint.take().map(|hint| hint + " ").unwrap_or_default();
            self.hint = Some(format!("{hint}{namespace} is the default namespace: choose another with -n."));
        }
        self
    }
}

impl From<Failure> for VizError {
    fn from(error: Failure) -> Self {
        Self { code: Some(error.code), message: error.message, hint: error.hint }
    }
}

impl fmt::Display for VizError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(printable(&self.message).trim_end_matches('.'))?;
        match &self.hint {
            Some(hint) => write!(f, ". {}", printable(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for VizError {}

/// The message of a Status, which the API server answers with.
fn kubernetes_message(body: &[u8]) -> Option<String> {
    let status: serde_json::Value = serde_json::from_slice(body).ok()?;
    if status["kind"] != "Status" {
        return None;
    }
    status["message"].as_str().filter(|message| !message.is_empty()).map(str::to_owned)
}

/// Text of the network without control characters, which a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_and_the_hint_are_two_sentences() {
        let body = br#"{"error":{"code":"prometheus_unavailable","message":"Prometheus does not answer.","hint":"Is its pod running?"}}"#;
        let error = VizError::read(StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(error.code, Some(ErrorCode::PrometheusUnavailable));
        assert_eq!(error.to_string(), "Prometheus does not answer. Is its pod running?");
    }

    #[test]
    fn a_refusal_of_the_api_server_keeps_its_words() {
        let body = br#"{"kind":"Status","apiVersion":"v1","message":"deployments.tap.linkerd.io is forbidden","code":403}"#;
        let error = VizError::read(StatusCode::FORBIDDEN, body);
        assert_eq!(error.to_string(), "deployments.tap.linkerd.io is forbidden");
    }

    #[test]
    fn another_answer_is_told_by_its_status_alone() {
        let error = VizError::read(StatusCode::BAD_GATEWAY, b"<html>\x1b[31m");
        assert_eq!(error.to_string(), "the answer is HTTP 502 Bad Gateway");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(printable("/a\x1b[2J\n"), "/a\u{fffd}[2J\u{fffd}");
    }
}
