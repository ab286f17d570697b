//! Pods that send one request after the other, and what became of these.

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, NODES, Namespace, wait};

use super::manifests::fill;

/// Each run of curl keeps its connection for twenty requests; the mesh balances every one of them. The service's name is
/// not looked up: DNS does not go through the mesh, and an answer of a busy CoreDNS that is lost is no lost request.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: "load-{node}"}
spec:
  nodeName: "{node}"
  terminationGracePeriodSeconds: 1
  containers:
    - name: requests
      image: localhost/weft-toolbox:1
      command: [sh, -c]
      args:
        - |
          while :; do
            curl -sS -o /dev/null --max-time 30 --resolve '{host}:80:{address}' --rate 40/s -w '%{http_code} by %{remote_ip}\n' 'http://{host}/?[1-20]' || sleep 0.2
          done
"#;
const ANSWERED: &str = "200 by ";
/// What counts as going on.
const MORE: usize = 40;

/// A client on each node that runs until its namespace is deleted.
pub(super) struct Load<'a> {
    cluster: &'a Cluster,
    /// The node and the log file of each client.
    logs: Vec<(&'static str, String)>,
}

impl<'a> Load<'a> {
    /// Sends requests to a service from both nodes, and waits until they are answered.
    pub(super) fn start(cluster: &'a Cluster, namespace: &Namespace<'_>, host: &str) -> Result<Self> {
        let mut logs = Vec::new();
        let address = namespace.field(&format!("service/{host}"), ".spec.clusterIP")?;
        for node in NODES {
            namespace.apply(&fill(POD, &[("{node}", node), ("{host}", host), ("{address}", &address)]))?;
        }
        for node in NODES {
            let pod = format!("load-{node}");
            namespace.pod_ready(&pod)?;
            let uid = namespace.field(&format!("pod/{pod}"), ".metadata.uid")?;
            logs.push((node, format!("/var/log/pods/{}_{pod}_{uid}/requests/0.log", namespace.name())));
        }
        let load = Self { cluster, logs };
        load.goes_on()?;
        Ok(load)
    }

    /// The lines of each client, from the node's own file: kubectl needs the API server.
    fn lines(&self) -> Result<Vec<Vec<String>>> {
        self.logs
            .iter()
            .map(|(node, file)| {
                let text = self.cluster.inside(node, &["cat", file])?;
                // Each line begins with the time, the stream and a flag.
                let line = |line: &str| line.splitn(4, ' ').nth(3).map(str::to_owned);
                Ok(text.lines().filter_map(line).collect())
            })
            .collect()
    }

    /// How many requests were answered, for each client.
    fn answered(&self) -> Result<Vec<usize>> {
        let count = |lines: &Vec<String>| lines.iter().filter(|line| line.starts_with(ANSWERED)).count();
        Ok(self.lines()?.iter().map(count).collect())
    }

    /// Waits until each client got more answers.
    pub(super) fn goes_on(&self) -> Result<()> {
        let before = self.answered()?;
        wait::until_ok("requests are answered on both nodes", || {
            let now = self.answered()?;
            let more = before.iter().zip(&now).all(|(before, now)| *now >= before + MORE);
            ensure!(more, "{before:?} requests were answered, now {now:?}; failures: {:?}", self.failures()?);
            Ok(())
        })
    }

    /// What was not an answer with status 200, with its place.
    pub(super) fn failures(&self) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        for ((node, _), lines) in self.logs.iter().zip(self.lines()?) {
            let failed = lines.iter().enumerate().filter(|(_, line)| !line.starts_with(ANSWERED));
            failures.extend(failed.map(|(index, line)| format!("{node}, line {index}: {line}")));
        }
        Ok(failures)
    }

    /// Fails if a request was not answered.
    pub(super) fn lost_nothing(&self) -> Result<()> {
        let failures = self.failures()?;
        let first: Vec<_> = failures.iter().take(10).collect();
        ensure!(failures.is_empty(), "{} lines are no answers: {first:#?}", failures.len());
        let answered = self.answered().context("the clients' logs")?;
        println!("{answered:?} requests were answered, none was lost");
        Ok(())
    }
}
