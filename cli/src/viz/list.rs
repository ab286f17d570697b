//! `weft viz list`: which pods can be tapped, and why others cannot.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use weft_api::viz::{PodItem, PodProxyState, TapState};

use super::{
    access::{Viz, printable},
    notes,
    options::{Output, OutputOption, VizOptions},
};
use crate::{global::Global, terminal::print};

/// List which pods can be tapped, and why others cannot
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The pods of a namespace
  weft viz list -n emojivoto

  # Of all namespaces
  weft viz list -A")]
pub(crate) struct ListArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn list(global: &Global, options: &VizOptions, args: &ListArgs) -> Result<()> {
    let viz = Viz::connect(global, options).await?;
    let namespace = (!args.all_namespaces).then_some(viz.namespace.as_str());
    let query: Vec<_> = namespace.map(|namespace| ("namespace", namespace)).into_iter().collect();
    let answer = viz.get::<Vec<PodItem>>("/api/pods", &query).await?;
    notes::about(&answer.meta);
    let mut pods = answer.data;
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    if args.output.output == Output::Json {
        let rows: Vec<_> = pods
            .iter()
            .map(|pod| {
                let reason = reason(pod);
                json!({ "namespace": pod.namespace, "pod": pod.name, "tap": reason.is_none(), "reason": reason })
            })
            .collect();
        return print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    if pods.is_empty() {
        notes::say(&notes::no_such(&viz, namespace, "pods").await?);
    }
    print(&text(&pods))
}

fn text(pods: &[PodItem]) -> String {
    let mut text = String::new();
    let name = |pod: &PodItem| printable(&format!("{}/{}", pod.namespace, pod.name));
    let (without, with): (Vec<_>, Vec<_>) =
        pods.iter().map(|pod| (pod, reason(pod))).partition(|(_, reason)| reason.is_some());
    if !with.is_empty() {
        text.push_str("Pods that can be tapped:\n");
        for (pod, _) in with {
            text.push_str(&format!("\t* {}\n", name(pod)));
        }
    }
    if !without.is_empty() {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        text.push_str("Pods that cannot be tapped:\n");
        for (pod, reason) in without {
            text.push_str(&format!("\t* {}: {}\n", name(pod), printable(&reason.unwrap_or_default())));
        }
    }
    text
}

/// Why a pod cannot be tapped.
fn reason(pod: &PodItem) -> Option<String> {
    match pod.tap {
        TapState::NotMeshed => return Some("it is not in the mesh".to_owned()),
        TapState::Disabled => {
            return Some("viz.linkerd.io/disable-tap is set on it, or on its namespace".to_owned());
        }
        TapState::Allowed => {}
    }
    let proxy = pod.proxy.as_ref()?;
    let state = match proxy.state {
        PodProxyState::Served => return None,
        PodProxyState::Joining => "it is joining the mesh",
        PodProxyState::Leaving => "it is leaving the mesh",
        PodProxyState::Refused => "its node's proxy refuses it",
        PodProxyState::NoProxy => "its node has no proxy",
    };
    let reason = proxy.reason.as_deref().filter(|reason| !reason.is_empty());
    Some(match (proxy.state, reason) {
        (PodProxyState::NoProxy, Some(reason)) => reason.to_owned(),
        (_, Some(reason)) => format!("{state}: {reason}"),
        (_, None) => state.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use weft_api::viz::PodProxy;

    use super::*;

    fn pod(name: &str, tap: TapState, state: Option<PodProxyState>) -> PodItem {
        PodItem {
            namespace: "emojivoto".to_owned(),
            name: name.to_owned(),
            owner: None,
            node: None,
            phase: "Running".to_owned(),
            ready: true,
            started_at: None,
            meshed: state.is_some(),
            proxy: state.map(|state| PodProxy { state, reason: None }),
            tap,
            http: None,
            tcp: None,
            spark: None,
        }
    }

    #[test]
    fn pods_that_cannot_be_tapped_have_the_reason() {
        let pods = [
            pod("web", TapState::Allowed, Some(PodProxyState::Served)),
            pod("secret", TapState::Disabled, Some(PodProxyState::Served)),
            pod("new", TapState::Allowed, Some(PodProxyState::NoProxy)),
            pod("old", TapState::NotMeshed, None),
        ];
        assert_eq!(
            text(&pods),
            "Pods that can be tapped:\n\t* emojivoto/web\n\nPods that cannot be tapped:\n\
             \t* emojivoto/secret: viz.linkerd.io/disable-tap is set on it, or on its namespace\n\
             \t* emojivoto/new: its node has no proxy\n\
             \t* emojivoto/old: it is not in the mesh\n"
        );
    }
}
