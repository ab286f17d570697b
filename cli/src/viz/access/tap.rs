//! Opens taps: through the API server, or on a dev VM with its token.

use anyhow::{Context, Result, anyhow, bail};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use weft_api::viz::TapMessage;

use super::{
    CONNECT_TIMEOUT, Route, Viz, VizError, dial,
    request::{begin, host_of, request},
};
use crate::kubernetes::explain;

/// A message has at most a thousand events.
const MAX_LINE: usize = 16 << 20;
const MAX_REFUSAL: usize = 1 << 20;

/// The messages of a tap, one per line.
pub(crate) struct TapStream {
    body: UnsyncBoxBody<Bytes, anyhow::Error>,
    /// What came after the last whole line.
    rest: Vec<u8>,
    /// Lines of `rest` end before this position.
    searched: usize,
}

impl Viz {
    /// Opens a tap. `path` begins with /apis/tap.linkerd.io/.
    pub(crate) async fn tap(&self, path: &str) -> Result<TapStream> {
        let (status, body) = match &self.route {
            Route::Cluster { streams, .. } => {
                let request = Request::get(path).body(kube::client::Body::empty())?;
                let response = tokio::time::timeout(CONNECT_TIMEOUT, streams.send(request)).await;
                let response = response
                    .map_err(|_| {
                        anyhow!("the tap API did not answer within {} s", CONNECT_TIMEOUT.as_secs())
                    })?
                    .map_err(|error| explain(error, "tap"))?;
                let (parts, body) = response.into_parts();
                (parts.status, body.map_err(|error| anyhow!("{error}")).boxed_unsync())
            }
            Route::Direct(_) => bail!(
                "live calls are not at --api-addr: they go through the cluster's API server, which asks whether you \
                 may see them; leave the option out"
            ),
            Route::Vm(context) => {
                let token = context.tap_token()?;
                let mut sender = begin(dial(&context.name, &context.tap_url).await?).await?;
                let request = request(&host_of(&context.tap_url)?, path, Some(&token))?;
                let response = tokio::time::timeout(CONNECT_TIMEOUT, sender.send_request(request)).await;
                let response = response
                    .map_err(|_| {
                        anyhow!("the tap API did not answer within {} s", CONNECT_TIMEOUT.as_secs())
                    })?
                    .context("the tap API did not answer")?;
                let (parts, body) = response.into_parts();
                (parts.status, body.map_err(anyhow::Error::new).boxed_unsync())
            }
        };
        if status.is_success() {
            return Ok(TapStream { body, rest: Vec::new(), searched: 0 });
        }
        let body = Limited::new(body, MAX_REFUSAL).collect().await.map_err(|error| anyhow!("{error}"))?;
        Err(self.refused(status, &body.to_bytes()))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let error = self.explained(VizError::read(status, body));
        // An error of weft-viz's own says what is wrong.
        let is_missing = error.code.is_none() && status == StatusCode::NOT_FOUND;
        let is_unavailable = is_missing || status == StatusCode::SERVICE_UNAVAILABLE;
        let error = anyhow::Error::new(error);
        match (&self.route, status.as_u16()) {
            (Route::Cluster { .. }, 403) => error.context(
                "the tap is not allowed: you need the right to `watch` the resource's `tap` in the API group \
                 tap.linkerd.io (docs/viz.md, \"Who may tap\")",
            ),
            (Route::Cluster { viz_namespace, .. }, _) if is_unavailable => error.context(format!(
                "the tap API is not available; is weft-viz installed in the namespace {viz_namespace}, and what does \
                 `weft viz check` say?"
            )),
            (Route::Vm(_), 401) => error.context("the dev VM does not accept the token; restart `cargo xtask run`"),
            _ => error.context("the tap cannot be opened"),
        }
    }
}

impl TapStream {
    /// The next message; none if the server ended the tap.
    pub(crate) async fn next(&mut self) -> Result<Option<TapMessage>> {
        loop {
            if let Some(length) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + length;
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.searched = 0;
                let line = line.trim_ascii();
                // An empty line only shows that the tap lives.
                if line.is_empty() {
                    continue;
                }
                return serde_json::from_slice(line)
                    .map(Some)
                    .context("the tap API sent what this tool cannot read; are both of the same version?");
            }
            self.searched = self.rest.len();
            if self.rest.len() > MAX_LINE {
                bail!("the tap API sent a line of more than {} MiB", MAX_LINE >> 20);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
