//! The channel for calls: each one goes to the replica that is chosen at that moment.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tonic::{Status, body::Body, codegen::Service};

use super::replicas::Replicas;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a call waits for a replica that is ready: enough to change to another one.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A channel to the control plane, for the generated clients. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Client {
    replicas: Arc<Replicas>,
}

impl Client {
    pub fn new(replicas: Arc<Replicas>) -> Self {
        Self { replicas }
    }

    /// A client of a single replica, in plaintext.
    #[cfg(test)]
    pub(crate) fn fixed(address: std::net::SocketAddr) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self::new(Replicas::fixed(endpoint.connect_lazy()))
    }
}

impl Service<http::Request<Body>> for Client {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut chosen = self.replicas.chosen();
        Box::pin(async move {
            let unavailable = || Status::unavailable("no replica of the control plane is ready");
            let mut channel = tokio::time::timeout(MAX_WAIT, chosen.wait_for(Option::is_some))
                .await
                .ok()
                .and_then(|chosen| Some(chosen.ok()?.as_ref()?.channel.clone()))
                .ok_or_else(unavailable)?;
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            Ok(channel.call(request).await?)
        })
    }
}
