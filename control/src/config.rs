//! The configuration of a control plane, and the errors of starting it.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    grpc::GrpcError,
    identity::{AuthorityConfig, CertificateAuthorityError, TokenError},
    kubernetes::ClientError,
    manifests::SourceError,
    mesh::Mesh,
    settings::Annotations,
};

#[derive(Clone, Debug)]
pub struct Config {
    pub source: SourceConfig,
    /// The folder for certificates, tokens, and the addresses that the control plane listens on.
    pub state: PathBuf,
    /// The address of the gRPC services.
    pub listen: SocketAddr,
    /// The address of `/ready`, `/live` and `/metrics`.
    pub admin: SocketAddr,
    /// Nodes that get a token even if no manifest names them.
    pub nodes: Vec<String>,
    /// The authority, and the certificates that it issues.
    pub identity: AuthorityConfig,
    pub mesh: Mesh,
    /// Settings for everything that no annotation is about.
    pub defaults: Annotations,
}

/// Where the objects of the cluster come from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// Folders of manifests; documents of a later one are merged onto those of an earlier one.
    Manifests(Vec<PathBuf>),
    Kubernetes(KubernetesConfig),
}

/// How a Kubernetes API server is used.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// Without a file, the service account of the pod is used.
    pub kubeconfig: Option<PathBuf>,
    /// The address of the webhook that checks policies.
    pub webhook: SocketAddr,
}

/// Why a control plane does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("{path}: {error}", path = path.display())]
    State { path: PathBuf, error: io::Error },
    #[error(transparent)]
    CertificateAuthority(#[from] CertificateAuthorityError),
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Kubernetes(#[from] ClientError),
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] GrpcError),
    #[error("{0} ended unexpectedly")]
    TaskEnded(&'static str),
}
