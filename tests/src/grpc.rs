//! Calls of the control plane's gRPC services.

use std::{future::Future, net::SocketAddr};

use anyhow::{Result, anyhow};
use tonic::transport::{Channel, Endpoint};
use weft_api::linkerd::destination::{GetDestination, destination_client::DestinationClient};

/// Connects to `control` and runs one call.
pub fn call<T, F>(control: SocketAddr, call: impl FnOnce(Channel) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async { call(Endpoint::from_shared(format!("http://{control}"))?.connect().await?).await })
}

/// The identities that the control plane announces for these addresses; `None` means plaintext.
pub fn identities(control: SocketAddr, addresses: &[SocketAddr]) -> Result<Vec<Option<String>>> {
    call(control, async |channel| {
        let mut client = DestinationClient::new(channel);
        let mut identities = Vec::new();
        for address in addresses {
            let target = GetDestination { path: address.to_string(), ..GetDestination::default() };
            let mut profiles = client.get_profile(target).await?.into_inner();
            let profile = profiles.message().await?.ok_or_else(|| anyhow!("no profile of {address}"))?;
            let tls = profile.endpoint.and_then(|endpoint| endpoint.tls_identity);
            identities.push(tls.and_then(|tls| tls.server_name).map(|name| name.name));
        }
        Ok(identities)
    })
}
