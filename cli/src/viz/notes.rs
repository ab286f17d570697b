//! Says on stderr what an answer lacks, and why it is empty.

use anyhow::Result;
use weft_api::viz::{ErrorCode, Meta, ResourceItem, Source, Window};

use super::access::{Route, Viz, VizError, printable};

/// Says something beside the output.
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

/// Says what the figures of an answer lack.
pub(super) fn about(meta: &Meta) {
    if meta.source == Source::Proxies {
        say("Prometheus is not installed: these are figures of the last minute, read from the proxies.");
    }
    for warning in &meta.warnings {
        say(&format!("warning: {}", printable(&warning.message)));
    }
}

/// How a namespace joins the mesh.
pub(super) fn how_to_mesh(viz: &Viz, namespace: &str) -> String {
    match viz.route {
        Route::Cluster { .. } => {
            format!("`kubectl annotate namespace {namespace} linkerd.io/inject=enabled`")
        }
        Route::Vm(_) => {
            format!("annotate the Namespace {namespace} with linkerd.io/inject: enabled in the manifests")
        }
    }
}

/// Why there is no row of these resources at all.
pub(super) async fn no_such(viz: &Viz, namespace: Option<&str>, plural: &str) -> Result<String> {
    let Some(namespace) = namespace else {
        return Ok(format!("There are no {plural}."));
    };
    let all = viz.get::<Vec<ResourceItem>>("/api/resources", &[]).await?.data;
    Ok(if all.iter().any(|item| item.resource.namespace == namespace) {
        format!("There are no {plural} in the namespace {namespace}; choose another with -n, or all with -A.")
    } else {
        format!(
            "The namespace {namespace} is empty, or does not exist; choose another with -n, or all with -A."
        )
    })
}

/// Why there are no figures for resources that are in the mesh.
pub(super) fn no_traffic(window: Window, what: &str) -> String {
    let further = match window {
        Window::SixHours => "",
        _ => " A longer range of time, such as -t 1h, may show some.",
    };
    format!("No {what} in the last {window}.{further}")
}

pub(super) fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<VizError>().is_some_and(|error| error.code == Some(ErrorCode::NotFound))
}
