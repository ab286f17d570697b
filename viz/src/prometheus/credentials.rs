//! What Prometheus is told about who asks. It is never logged.

use std::{fmt, fs, io, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;

/// The most that a file with a token may hold.
const MAX_TOKEN: u64 = 64 * 1024;

#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Basic {
        user: String,
        password: String,
    },
    /// A file with a token. It is read for every question, because tokens are renewed.
    BearerFile(PathBuf),
}

impl Credentials {
    /// The value of the header `authorization`.
    pub(crate) fn header(&self) -> io::Result<Option<HeaderValue>> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic { user, password } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
            }
            Self::BearerFile(path) => {
                if fs::metadata(path)?.len() > MAX_TOKEN {
                    return Err(io::Error::other("the file is too large for a token"));
                }
                format!("Bearer {}", fs::read_to_string(path)?.trim())
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| io::Error::other("the credentials have characters that a header cannot have"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::BearerFile(_) => "BearerFile",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_but_not_printed() {
        let basic = Credentials::Basic { user: "weft".into(), password: "hunter2".into() };
        let value = basic.header().unwrap().unwrap();
        assert_eq!(value, "Basic d2VmdDpodW50ZXIy");
        assert!(!format!("{basic:?} {value:?}").contains("hunter2"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "abc\n").unwrap();
        assert_eq!(Credentials::BearerFile(path).header().unwrap().unwrap(), "Bearer abc");
        assert!(Credentials::BearerFile(dir.path().join("absent")).header().is_err());
    }
}
