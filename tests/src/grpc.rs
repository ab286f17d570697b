//! Calls of the control plane's gRPC services.

use std::{fs, future::Future, net::SocketAddr, path::Path};

use anyhow::{Context, Result, anyhow};
use tonic::transport::Channel;
use weft_api::{
    linkerd::destination::{GetDestination, destination_client::DestinationClient},
    secure,
};

/// Connects to the control plane whose state folder this is, and runs one call.
pub fn call<T, F>(state: &Path, call: impl FnOnce(Channel) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let read = |name: &str| fs::read_to_string(state.join(name)).with_context(|| name.to_owned());
    let (address, identity) = (read("address")?.trim().parse()?, read("identity")?);
    let anchors = read("anchors.pem")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async { call(secure::connect(address, anchors.as_bytes(), identity.trim()).await?).await })
}

/// The identities that the control plane announces for these addresses; `None` means plaintext.
pub fn identities(state: &Path, addresses: &[SocketAddr]) -> Result<Vec<Option<String>>> {
    call(state, async |channel| {
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
