//! The Kubernetes objects that weft reads, and the events by which sources report them.
//!
//! Sources (folders of manifests, the Kubernetes API) turn what they see into [`Event`]s, and the index keeps the
//! objects. Both know this module and neither knows the other.

mod authorization;
mod event;
mod key;
mod object;
mod server;
mod trim;

#[cfg(test)]
mod tests;

pub use self::{
    authorization::{
        AuthorizationPolicy, AuthorizationPolicySpec, Client, MeshTLSAuthentication,
        MeshTLSAuthenticationSpec, MeshTls, Network, NetworkAuthentication, NetworkAuthenticationSpec,
        ObjectRef, ServerAuthorization, ServerAuthorizationSpec, ServerSelector, ServiceAccountRef,
    },
    event::Event,
    key::{Key, Kind, Name},
    object::Object,
    server::{Server, ServerSpec},
    trim::{LINKERD_CONTAINER, LINKERD_INBOUND_ADDR},
};
