//! Whether the API server can be reached, and is new enough.

use anyhow::{Result, bail};
use k8s_openapi::apimachinery::pkg::version::Info;

use crate::{
    check::{
        cluster::Cluster,
        model::{Category, Check},
    },
    kubernetes::explain,
};

const MINIMUM: (u32, u32) = (1, 31);

pub(super) fn category() -> Category {
    Category {
        name: "kubernetes-api",
        checks: vec![
            Check::fatal("can initialize the client", "k8s-api", |cluster| {
                Box::pin(async { cluster.client().await.map(|_| ()) })
            }),
            Check::fatal("can query the Kubernetes API", "k8s-api", |cluster| {
                Box::pin(async { version(cluster).await.map(|_| ()) })
            }),
        ],
    }
}

pub(super) fn version_category() -> Category {
    Category {
        name: "kubernetes-version",
        checks: vec![Check::error(
            "is running the minimum Kubernetes API version (1.31.0)",
            "k8s-version",
            |cluster| Box::pin(minimum(cluster)),
        )],
    }
}

async fn version(cluster: &Cluster) -> Result<Info> {
    cluster
        .client()
        .await?
        .apiserver_version()
        .await
        .map_err(|error| explain(error, "ask the API server for its version"))
}

async fn minimum(cluster: &Cluster) -> Result<()> {
    judge(&version(cluster).await?)
}

fn judge(version: &Info) -> Result<()> {
    if !is_enough(&version.major, &version.minor) {
        bail!(
            "Kubernetes is on version [{}], but version [{}.{}.0] or more recent is required",
            version.git_version.trim_start_matches('v'),
            MINIMUM.0,
            MINIMUM.1
        );
    }
    Ok(())
}

/// Some providers write a minor version such as `31+`.
fn is_enough(major: &str, minor: &str) -> bool {
    let number =
        |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or(0);
    (number(major), number(minor)) >= MINIMUM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_before_1_31_or_an_unreadable_one_is_not_enough() {
        assert!(is_enough("1", "31") && is_enough("1", "36+") && is_enough("2", "0"));
        assert!(!is_enough("1", "30") && !is_enough("1", "9") && !is_enough("", ""));
    }

    #[test]
    fn an_old_version_is_named_with_the_one_that_is_required() {
        let version = |minor: &str| Info {
            major: "1".to_owned(),
            minor: minor.to_owned(),
            git_version: format!("v1.{minor}.4"),
            ..Info::default()
        };
        assert!(judge(&version("31")).is_ok());
        assert_eq!(
            judge(&version("30")).unwrap_err().to_string(),
            "Kubernetes is on version [1.30.4], but version [1.31.0] or more recent is required"
        );
    }
}
