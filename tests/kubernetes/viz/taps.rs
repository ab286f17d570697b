//! Who may tap what.

use anyhow::{Context, Result, bail, ensure};
use weft_tests::kubernetes::{Cluster, wait};

use super::installed::with_viz;
use crate::quick_start::demo;

const ROLE: &str = "weft-viz-tap-admin";
/// kubectl is ended after this time: a tap goes on for ever.
const SECONDS: &str = "8";

pub(super) fn taps_need_the_right_to_watch() -> Result<()> {
    with_viz(|cluster| {
        let refused = |user: &str, namespace: &str| match tap(cluster, user, namespace) {
            Ok(events) => bail!("{user} taps {namespace}: {events}"),
            Err(error) => {
                let text = format!("{error:#}").to_lowercase();
                ensure!(text.contains("forbidden") && text.contains(user), "{text}");
                Ok(())
            }
        };
        refused("alice", demo::NAMESPACE)?;
        let bind = ["create", "rolebinding", "alice-taps", "--clusterrole", ROLE, "--user", "alice"];
        cluster.kubectl(&[&["-n", demo::NAMESPACE], &bind[..]].concat())?;
        wait::until_ok("alice taps", || {
            let events = tap(cluster, "alice", demo::NAMESPACE)?;
            ensure!(events.contains("started"), "{events}");
            Ok(())
        })?;
        // In this namespace, and nobody else.
        refused("alice", "weft-viz")?;
        refused("bob", demo::NAMESPACE)?;
        cluster.kubectl(&["-n", demo::NAMESPACE, "delete", "rolebinding/alice-taps"]).map(drop)
    })
}

pub(super) fn pods_opt_out_of_taps() -> Result<()> {
    with_viz(|cluster| {
        let annotate = |value: &str| {
            cluster.kubectl(&["annotate", "--overwrite", "namespace", demo::NAMESPACE, value]).map(drop)
        };
        annotate("viz.linkerd.io/disable-tap=true")?;
        let refused = wait::until_ok("no pod is tapped", || {
            let events = match tap(cluster, "kubernetes-admin", demo::NAMESPACE) {
                Ok(events) => events,
                Err(error) => format!("{error:#}"),
            };
            // 409, because no pod is left, as kubectl prints it.
            ensure!(events.contains("(Conflict)"), "{events}");
            ensure!(!events.contains("VotingService"), "a call is shown: {events}");
            Ok(())
        });
        annotate("viz.linkerd.io/disable-tap-")?;
        refused
    })
}

/// What a user of the API server gets in a few seconds of tapping a namespace.
fn tap(cluster: &Cluster, user: &str, namespace: &str) -> Result<String> {
    let path = format!(
        "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/{namespace}/tap?namespace={namespace}&type=namespace"
    );
    let mut command = cluster.kubectl_command(&["get", "--raw", &path]);
    if user != "kubernetes-admin" {
        command.args(["--as", user]);
    }
    let mut limited = std::process::Command::new("timeout");
    limited.arg(SECONDS).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let output = limited.output().context("timeout")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (output.status.code(), text(&output.stdout)) {
        // As `timeout` reports it.
        (Some(124), events) if !events.is_empty() => Ok(events),
        (_, events) => bail!("{}{events}{}", output.status, text(&output.stderr)),
    }
}
