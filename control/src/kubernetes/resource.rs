//! Where the API server has the objects of each kind.

use crate::model::Kind;

/// A resource of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
}

const POLICY: &str = "policy.linkerd.io";

impl Resource {
    pub(super) fn of(kind: Kind) -> Self {
        let (group, version, plural) = match kind {
            Kind::Namespace => ("", "v1", "namespaces"),
            Kind::ServiceAccount => ("", "v1", "serviceaccounts"),
            Kind::Service => ("", "v1", "services"),
            Kind::Pod => ("", "v1", "pods"),
            Kind::Node => ("", "v1", "nodes"),
            Kind::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
            Kind::Deployment => ("apps", "v1", "deployments"),
            Kind::ReplicaSet => ("apps", "v1", "replicasets"),
            Kind::StatefulSet => ("apps", "v1", "statefulsets"),
            Kind::DaemonSet => ("apps", "v1", "daemonsets"),
            Kind::Job => ("batch", "v1", "jobs"),
            Kind::CronJob => ("batch", "v1", "cronjobs"),
            Kind::Server => (POLICY, "v1beta3", "servers"),
            Kind::ServerAuthorization => (POLICY, "v1beta1", "serverauthorizations"),
            Kind::AuthorizationPolicy => (POLICY, "v1alpha1", "authorizationpolicies"),
            Kind::MeshTLSAuthentication => (POLICY, "v1alpha1", "meshtlsauthentications"),
            Kind::NetworkAuthentication => (POLICY, "v1alpha1", "networkauthentications"),
        };
        Self { group, version, plural }
    }

    /// The path of the objects of all namespaces.
    pub(super) fn path(&self) -> String {
        match self.group {
            "" => format!("/api/{}/{}", self.version, self.plural),
            group => format!("/apis/{group}/{}/{}", self.version, self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_kubernetes_api() {
        assert_eq!(Resource::of(Kind::Pod).path(), "/api/v1/pods");
        assert_eq!(Resource::of(Kind::Server).path(), "/apis/policy.linkerd.io/v1beta3/servers");
    }

    #[test]
    fn every_kind_has_a_resource_of_a_version_that_manifests_have_too() {
        for kind in Kind::ALL {
            let resource = Resource::of(kind);
            let api_version = match resource.group {
                "" => resource.version.to_owned(),
                group => format!("{group}/{}", resource.version),
            };
            assert_eq!(Kind::of(&api_version, &kind.to_string()), Some(kind));
        }
    }
}
