//! The ways in which a handshake or a TLS stream can fail.

use std::io;

use rustls::{AlertDescription, CertificateError};

/// A handshake failed, or a stream broke.
///
/// In TLS 1.3 a server verifies the client's certificate after the client considers the handshake done. The refusal
/// reaches the client with its first read, as an [`io::Error`]; `TlsError::from` finds it there.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain does not end at one of our trust anchors.
    #[error("the peer's certificate is not issued under a trusted anchor")]
    UnknownCa,
    /// A certificate of the chain has expired.
    #[error("the peer's certificate has expired")]
    Expired,
    /// A certificate of the chain is not valid yet.
    #[error("the peer's certificate is not valid yet (is a clock wrong?)")]
    NotYetValid,
    /// The certificate names another identity, or none.
    #[error("the peer's certificate names {presented:?}, expected {expected}")]
    BadName {
        /// The identity that was wanted.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The certificate, or the signature made with its key, is bad in another way.
    #[error("the peer's certificate is refused: {0}")]
    BadCertificate(rustls::Error),
    /// The peer refused us.
    #[error("the peer refused with alert {0:?}")]
    Alert(AlertDescription),
    /// The peer violated the protocol, or speaks another version of it.
    #[error("TLS protocol: {0}")]
    Protocol(rustls::Error),
    /// The connection ended without an alert or close_notify.
    #[error("the peer closed without an alert")]
    Closed,
    /// The connection beneath broke.
    #[error("{0}")]
    Io(io::Error),
    /// The handshake took too long. Callers make this error: they bound the time.
    #[error("the handshake took too long")]
    Timeout,
}

impl TlsError {
    /// A short, stable word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadName { .. } => "bad_name",
            Self::BadCertificate(_) => "bad_certificate",
            Self::Alert(AlertDescription::UnknownCA) => "alert_unknown_ca",
            Self::Alert(AlertDescription::CertificateExpired) => "alert_expired",
            Self::Alert(AlertDescription::BadCertificate | AlertDescription::CertificateUnknown) => {
                "alert_bad_certificate"
            }
            Self::Alert(AlertDescription::CertificateRequired) => "alert_no_certificate",
            Self::Alert(_) => "alert",
            Self::Protocol(_) => "protocol",
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Timeout => "handshake_timeout",
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::AlertReceived(alert) => Self::Alert(alert),
            Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer => Self::UnknownCa,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForNameContext { expected, presented } => {
                    Self::BadName { expected: expected.to_str().into_owned(), presented }
                }
                other => Self::BadCertificate(other.into()),
            },
            error @ Error::NoCertificatesPresented => Self::BadCertificate(error),
            error => Self::Protocol(error),
        }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(tls) => tls.into(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            Err(error) => Self::Io(error),
        }
    }
}
