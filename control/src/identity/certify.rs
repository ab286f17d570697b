//! Answers requests for certificates.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use weft_api::linkerd::identity::{CertifyRequest, CertifyResponse, identity_server::Identity};

use super::{
    authenticator::Authenticator, authority::CertificateAuthority, caller::Caller, csr, issuer::IssuerError,
};
use crate::{index::Index, mesh::Mesh, metrics::Metrics, names, readiness::Readiness};

const CERTIFY: &str = "identity.Certify";

#[derive(Clone, Debug)]
pub(crate) struct Identities {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) index: Arc<Index>,
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) authenticator: Authenticator,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) lifetime: Duration,
    pub(crate) metrics: Metrics,
}

/// Why a request is refused: the label in the metric, and the answer.
struct Refusal(&'static str, Status);

impl Identities {
    async fn certify(&self, request: &CertifyRequest) -> Result<CertifyResponse, Refusal> {
        let identity = request.identity.as_str();
        self.readiness.check().map_err(|status| Refusal("not_ready", status))?;
        check_complete(request)?;
        let caller = self
            .authenticator
            .authenticate(&request.token)
            .await
            .map_err(|error| Refusal(error.reason(), error.into()))?;
        self.authorize(&caller, identity)?;
        let key = csr::public_key(&request.certificate_signing_request, identity).map_err(|error| {
            let text = format!("the certificate signing request is not valid: {error}");
            Refusal("bad_csr", Status::invalid_argument(text))
        })?;
        let issuer = self.authority.issuer();
        let now = OffsetDateTime::now_utc();
        let leaf = issuer.sign(identity, &key, self.lifetime, now).map_err(|error| {
            let status = match &error {
                IssuerError::Expired(_) => Status::failed_precondition(error.to_string()),
                _ => Status::internal(error.to_string()),
            };
            Refusal("issuer", status)
        })?;
        tracing::info!(?caller, identity, expires = %leaf.expires, "issued a certificate");
        Ok(CertifyResponse {
            leaf_certificate: leaf.der.to_vec(),
            intermediate_certificates: issuer.chain().iter().map(|der| der.to_vec()).collect(),
            valid_until: Some(SystemTime::from(leaf.expires).into()),
        })
    }

    /// A node proxy may have the identities of the meshed pods on its node, and its own; a workload its own. Nobody is
    /// issued the identity of weft-control: with it, one could pose as the control plane.
    fn authorize(&self, caller: &Caller, identity: &str) -> Result<(), Refusal> {
        let account = self.mesh.service_account(identity).filter(|_| names::is_subdomain(identity));
        let (service_account, namespace) = account.ok_or_else(|| {
            let example = self.mesh.identity("SERVICEACCOUNT", "NAMESPACE");
            let text =
                format!("{identity:?} is not an identity of this mesh; identities look like {example}");
            Refusal("bad_request", Status::invalid_argument(text))
        })?;
        if identity == self.mesh.own_identity() {
            let text = format!("{identity} is the identity of weft-control, which issues it to itself only");
            return Err(Refusal("reserved", Status::permission_denied(text)));
        }
        match caller {
            // It proves to the tap service that a node proxy answers. All node proxies share it, and it opens no pod.
            Caller::NodeProxy { .. } if identity == self.mesh.proxy_identity() => Ok(()),
            Caller::NodeProxy { node } => self.is_on_node(node, service_account, namespace, identity),
            Caller::Workload { namespace: own, service_account: account } => {
                if own == namespace && account == service_account {
                    return Ok(());
                }
                let text = format!(
                    "the token belongs to the service account {own}/{account}, which may not have the identity \
                     {identity}"
                );
                Err(Refusal("other_account", Status::permission_denied(text)))
            }
        }
    }

    fn is_on_node(
        &self,
        node: &str,
        service_account: &str,
        namespace: &str,
        identity: &str,
    ) -> Result<(), Refusal> {
        let cluster = self.index.snapshot();
        let has_pod = cluster.pods_on(node).iter().any(|pod| {
            pod.is_meshed() && pod.service_account == service_account && pod.name.namespace == namespace
        });
        if has_pod {
            return Ok(());
        }
        let text = format!(
            "node {node} has no meshed pod with service account {namespace}/{service_account}, so it may not have \
             the identity {identity}"
        );
        Err(Refusal("not_on_node", Status::permission_denied(text)))
    }
}

fn check_complete(request: &CertifyRequest) -> Result<(), Refusal> {
    for (is_missing, field) in [
        (request.identity.is_empty(), "identity"),
        (request.token.is_empty(), "token"),
        (request.certificate_signing_request.is_empty(), "certificate_signing_request"),
    ] {
        if is_missing {
            return Err(Refusal("bad_request", Status::invalid_argument(format!("{field} is missing"))));
        }
    }
    Ok(())
}

#[tonic::async_trait]
impl Identity for Identities {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let mut call = self.metrics.call(CERTIFY, false);
        let request = request.into_inner();
        match Self::certify(self, &request).await {
            Ok(response) => {
                self.metrics.issued();
                Ok(Response::new(response))
            }
            Err(Refusal(reason, status)) => {
                tracing::warn!(
                    identity = request.identity,
                    reason,
                    "refused a certificate: {}",
                    status.message()
                );
                self.metrics.refused(reason);
                call.code = status.code();
                Err(status)
            }
        }
    }
}
