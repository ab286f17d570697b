//! Reads what a service account token says about itself, without believing it.
//!
//! Only the API server can verify a token. But one that is not for weft or has expired need not be sent there, and the
//! expiry of a verified token limits how long the answer may be kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Tokens of service accounts have about 1 KiB.
const MAX_TOKEN: usize = 8 << 10;

/// The claims that are read.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) expires: SystemTime,
}

#[derive(Deserialize)]
struct Payload {
    aud: Audience,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// # Errors
    /// Why no API server will accept the token.
    pub(super) fn read(token: &[u8], audience: &str, now: SystemTime) -> Result<Self, String> {
        let malformed = || "it is no service account token".to_owned();
        if token.len() > MAX_TOKEN {
            return Err(malformed());
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| malformed())?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| malformed())?;
        let is_for_us = match &payload.aud {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        };
        if !is_for_us {
            return Err(format!(
                "it is for another audience than {audience}; mount a projected token with that audience"
            ));
        }
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(payload.exp)).unwrap_or(UNIX_EPOCH);
        match expires > now {
            true => Ok(Self { expires }),
            false => Err("it has expired; the kubelet replaces its file before that".into()),
        }
    }
}
