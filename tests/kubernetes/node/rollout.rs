//! A rollout of the node proxies while pods talk to each other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{NODES, wait};

use super::mesh;
use crate::installed::{self, with_weft};

/// Sends one request after the other, and a line every now and then over a connection that stays open.
const LOAD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: load}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: requests
      image: localhost/weft-toolbox:1
      command: [sh, -c, "while :; do curl -sSf --http1.0 --max-time 30 -o /dev/null http://{server}:8080/ && echo ok || echo failed; done"]
    - name: connection
      image: localhost/weft-toolbox:1
      command: [sh, -c, "(while sleep 0.2; do echo line; done) | socat -u - TCP:{server}:9000; echo ended"]
"#;

/// How many requests must be answered before and after.
const REQUESTS: usize = 20;
/// One node after the other.
const TAKEOVERS: Duration = Duration::from_secs(240);

pub(super) fn a_rollout_of_proxies_loses_nothing() -> Result<()> {
    with_weft(|cluster| {
        let (namespace, server) = mesh(cluster, "node-rollout")?;
        namespace.apply(&LOAD.replace("{node}", NODES[0]).replace("{server}", &server))?;
        namespace.pod_ready("load")?;
        let log = |container: &str| namespace.kubectl(&["logs", "load", "-c", container]);
        let answered = || -> Result<usize> {
            let log = log("requests")?;
            ensure!(!log.contains("failed"), "requests have failed:\n{log}");
            Ok(log.lines().count())
        };
        let wait_for_more = |than: usize| {
            wait::until_ok("requests are answered", || {
                let count = answered()?;
                ensure!(count >= than + REQUESTS, "{count} requests were answered, {than} before");
                Ok(())
            })
        };
        wait_for_more(0)?;
        let proxies = proxies(cluster)?;
        cluster.kubectl(&["-n", installed::NAMESPACE, "rollout", "restart", "daemonset/weft-proxy"])?;
        // Not `rollout status`: that waits until the old ones have gone, and they keep the open connection.
        wait::until_ok_for(TAKEOVERS, "all proxies are replaced", || {
            let now = self::proxies(cluster)?;
            ensure!(
                now.lines().count() == NODES.len() && now.lines().all(|pod| !proxies.contains(pod)),
                "{now}"
            );
            Ok(())
        })?;
        wait_for_more(answered()?)?;
        let connection = log("connection")?;
        ensure!(!connection.contains("ended"), "the open connection has ended:\n{connection}");
        namespace.kubectl(&["delete", "pod", "load"])?;
        cluster.rolled_out(installed::NAMESPACE, "daemonset/weft-proxy")
    })
}

/// The names of the proxies' pods that are not being deleted.
fn proxies(cluster: &weft_tests::kubernetes::Cluster) -> Result<String> {
    let path = r#"go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}"#;
    let selector = "linkerd.io/control-plane-component=proxy";
    let names = cluster.kubectl(&["-n", installed::NAMESPACE, "get", "pods", "-l", selector, "-o", path])?;
    Some(names).filter(|names| !names.is_empty()).context("there are no proxies")
}
