//! Why the API server did not answer, in words for an operator.

use std::{error::Error, fmt};

use kube::core::Status;

use super::resource::Resource;

#[derive(Debug)]
pub(super) enum Failure {
    /// The API server no longer knows the version from which to watch: list again.
    Gone,
    /// The API has no such resource.
    Absent,
    Forbidden(String),
    Other(String),
}

impl Failure {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn timeout(what: &str) -> Self {
        Self::Other(format!("the API server did not answer a {what} in time"))
    }

    /// The failure with what to do about it.
    pub(super) fn explain(&self, resource: &Resource) -> String {
        match self {
            Self::Gone => "the API server no longer has the version that was read last: lists again".into(),
            Self::Absent => format!(
                "the cluster has no {}.{} {}: install weft's CustomResourceDefinitions (weft install --crds, or the \
                 chart weft-crds); until then there are no such objects",
                resource.plural, resource.group, resource.version
            ),
            Self::Forbidden(message) => format!(
                "{message}: give this service account the rights that the chart weft-control-plane has in \
                 templates/control-rbac.yaml"
            ),
            Self::Other(message) => message.clone(),
        }
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        match status.code {
            410 => Self::Gone,
            404 => Self::Absent,
            401 | 403 => Self::Forbidden(status.message.clone()),
            // An API server that is older than the version to watch from says so by a timeout.
            504 if status.message.contains("Too large resource version") => Self::Gone,
            code => Self::Other(format!("the API server answered {code}: {}", status.message)),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self::from(&**status),
            other => Self::Other(chain(other)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "gone",
            Self::Absent => "absent",
            Self::Forbidden(_) => "forbidden",
            Self::Other(_) => "unreachable",
        })
    }
}

/// The error with its causes, each text once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn status(code: u16, message: &str) -> Failure {
        Failure::from(&Status { code, message: message.into(), ..Status::default() })
    }

    #[test]
    fn an_absent_kind_is_explained_by_the_command_that_installs_it() {
        let text = status(404, "not found").explain(&Resource::of(Kind::Server));
        assert!(text.contains("no servers.policy.linkerd.io v1beta3"), "{text}");
        assert!(text.contains("weft install --crds"), "{text}");
    }

    #[test]
    fn a_missing_right_is_explained_by_the_file_that_grants_it() {
        let message = r#"pods is forbidden: User "x" cannot list resource "pods""#;
        let text = status(403, message).explain(&Resource::of(Kind::Pod));
        assert!(text.starts_with(message) && text.contains("control-rbac.yaml"), "{text}");
    }

    #[test]
    fn a_version_that_the_server_does_not_have_leads_to_a_new_list() {
        assert!(status(410, "too old resource version").is_gone());
        assert!(status(504, "Timeout: Too large resource version: 9, current: 3").is_gone());
        assert!(!status(504, "slow").is_gone());
    }
}
