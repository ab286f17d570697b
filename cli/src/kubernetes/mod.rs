//! How the tool reaches the cluster, and the names of weft's objects there.

mod admin;
mod connect;
mod errors;
mod own;
mod workloads;

pub(crate) use self::{
    admin::{admin_page, forward, names},
    connect::{connect, connect_for_streams, names_a_cluster},
    errors::{explain, not_found},
    own::{own_pods, proxy_of},
    workloads::{namespace, pods_of},
};

/// The ConfigMap with the values of the installation.
pub(crate) const CONFIG: &str = "weft-config";
pub(crate) const TRUST_ROOTS: &str = "weft-identity-trust-roots";
pub(crate) const ISSUER: &str = "weft-identity-issuer";
pub(crate) const CONTROL: &str = "weft-control";
pub(crate) const PROXY: &str = "weft-proxy";
pub(crate) const VERSION_LABEL: &str = "app.kubernetes.io/version";
pub(crate) const COMPONENT_LABEL: &str = "linkerd.io/control-plane-component";
pub(crate) const NAMESPACE_LABEL: &str = "linkerd.io/control-plane-ns";
pub(crate) const CONTROL_SELECTOR: &str = "linkerd.io/control-plane-component=control";
pub(crate) const PROXY_SELECTOR: &str = "linkerd.io/control-plane-component=proxy";
pub(crate) const INJECT: &str = "linkerd.io/inject";
/// The name of the extension whose object it is.
pub(crate) const EXTENSION_LABEL: &str = "linkerd.io/extension";
