//! The quick start of README.md, and its removal.

use anyhow::{Context, Result, ensure};

use super::tools::{
    Tool::{self, Kubectl, Weft},
    Tools,
};
use crate::say::say;

pub(super) const NAMESPACE: &str = "emojivoto";
/// The demo's deployments that serve requests; voting fails on purpose.
pub(super) const SERVERS: [&str; 3] = ["emoji", "voting", "web"];
pub(super) const FAULT: &str = "voting";
const FILE: &str = "deploy/demo/emojivoto.yaml";
const DEMO: &str = include_str!("../../../../deploy/demo/emojivoto.yaml");
const IMAGES: &str = "do the cluster's nodes have weft's images? README.md says how they get them";

/// The commands of README.md that run as they are there, but for the time that checks wait.
const CHECK_BEFORE: &[(Tool, &str)] = &[(Weft, "check --pre")];
const INSTALL_KINDS: &[(Tool, &str)] = &[(Weft, "install --crds"), (Kubectl, "apply -f -")];
const INSTALL: &[(Tool, &str)] = &[(Weft, "install"), (Kubectl, "apply -f -")];
const CHECK: &[(Tool, &str)] = &[(Weft, "check --wait 3m")];
const INJECT: &[(Tool, &str)] =
    &[(Kubectl, "get -n emojivoto deploy -o yaml"), (Weft, "inject -"), (Kubectl, "apply -f -")];
const CHECK_PODS: &[(Tool, &str)] = &[(Weft, "-n emojivoto check --proxy --wait 2m")];

/// The demo's deployments, and for each whether it is on the first or the second of two nodes: some calls stay on a
/// node, others cross.
const PLACES: [(&str, usize); 4] = [("emoji", 0), ("web", 0), ("voting", 1), ("vote-bot", 1)];

/// What this has installed: what was there before is left alone.
#[derive(Debug, Default)]
pub(super) struct QuickStart {
    /// Without them, the scheduler is free to put all pods on one node.
    nodes: Option<[&'static str; 2]>,
    kinds: bool,
    weft: bool,
    demo: bool,
}

impl QuickStart {
    /// Puts the demo's pods on both nodes.
    pub(super) fn on(nodes: [&'static str; 2]) -> Self {
        Self { nodes: Some(nodes), ..Self::default() }
    }

    pub(super) fn install(&mut self, tools: &Tools) -> Result<()> {
        say(format_args!("\nThe quick start:"));
        self.install_weft(tools)?;
        self.install_demo(tools)
    }

    fn install_weft(&mut self, tools: &Tools) -> Result<()> {
        let query = "get deployments -A -l linkerd.io/control-plane-component=control -o name";
        let found = tools.output(Kubectl, query, None).context("the cluster does not answer")?;
        if !found.trim().is_empty() {
            say(format_args!("  weft is installed already, and stays"));
            return Ok(());
        }
        tools.pipe(CHECK_BEFORE)?;
        let kinds =
            tools.output(Kubectl, "get crd servers.policy.linkerd.io --ignore-not-found -o name", None)?;
        self.kinds = kinds.trim().is_empty();
        tools.pipe(INSTALL_KINDS)?;
        self.weft = true;
        tools.pipe(INSTALL)?;
        tools.pipe(CHECK).map(drop).context(IMAGES)
    }

    fn install_demo(&mut self, tools: &Tools) -> Result<()> {
        let found = format!("get namespace {NAMESPACE} --ignore-not-found -o name");
        if !tools.output(Kubectl, &found, None)?.trim().is_empty() {
            say(format_args!("  there is a namespace {NAMESPACE} already, which is left as it is"));
            return Ok(());
        }
        self.demo = true;
        tools.apply(FILE, self.nodes.map_or_else(|| DEMO.to_owned(), |nodes| placed(DEMO, nodes)))?;
        let available =
            format!("-n {NAMESPACE} wait --for=condition=Available --timeout=120s deployment --all");
        tools.pipe(&[(Kubectl, &available)]).context(IMAGES)?;
        let before = lives(tools)?;
        tools.pipe(INJECT)?;
        tools.pipe(CHECK_PODS)?;
        let after = lives(tools)?;
        ensure!(before == after, "pods were replaced or restarted: {before}, then {after}");
        say(format_args!("  The same pods run, none has restarted, and now they are meshed."));
        Ok(())
    }

    /// Removes what [`QuickStart::install`] has installed.
    pub(super) fn remove(&self, tools: &Tools) -> Result<()> {
        if self.demo || self.weft || self.kinds {
            say(format_args!("\nRemoving what was installed:"));
        }
        if self.demo {
            tools.pipe(&[(Kubectl, &format!("delete namespace {NAMESPACE} --ignore-not-found"))])?;
        }
        let delete = "delete --ignore-not-found -f -";
        if self.weft {
            tools.pipe(&[(Weft, "uninstall --force"), (Kubectl, delete)])?;
        }
        if self.kinds {
            tools.pipe(&[(Weft, "uninstall --crds"), (Kubectl, delete)])?;
        }
        Ok(())
    }
}

/// The pods' identities and restarts.
fn lives(tools: &Tools) -> Result<String> {
    let path = "jsonpath={.items[*].metadata.uid};{.items[*].status.containerStatuses[*].restartCount}";
    tools.output(Kubectl, &format!("-n {NAMESPACE} get pods -o {path}"), None)
}

/// The manifests with a node for each Deployment.
fn placed(manifests: &str, nodes: [&str; 2]) -> String {
    let place = |document: &str| {
        let deployment = PLACES.iter().find(|(name, _)| {
            document.contains("kind: Deployment")
                && document.contains(&format!("\nmetadata:\n  name: {name}\n"))
        });
        let Some((_, index)) = deployment else { return document.to_owned() };
        let selector = format!("      nodeSelector:\n        kubernetes.io/hostname: {}\n", nodes[*index]);
        document.replacen("\n    spec:\n", &format!("\n    spec:\n{selector}"), 1)
    };
    manifests.split("\n---\n").map(place).collect::<Vec<_>>().join("\n---\n")
}

#[cfg(test)]
mod tests {
    use super::{super::tools::shown, *};

    #[test]
    fn the_commands_are_those_of_the_readme() {
        let readme = include_str!("../../../../README.md");
        let lines: Vec<&str> =
            readme.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()).collect();
        for command in [CHECK_BEFORE, INSTALL_KINDS, INSTALL, CHECK, INJECT, CHECK_PODS] {
            let command = shown(command);
            let command = command.split(" --wait").next().unwrap();
            assert!(lines.contains(&command), "README.md has no line {command:?}");
        }
        assert!(lines.contains(&format!("kubectl apply -f {FILE}").as_str()));
    }

    #[test]
    fn each_deployment_of_the_demo_gets_its_node() {
        let text = placed(DEMO, ["first", "second"]);
        for (name, index) in PLACES {
            let document = text
                .split("\n---\n")
                .find(|document| {
                    document.contains("kind: Deployment") && document.contains(&format!("name: {name}\n"))
                })
                .unwrap();
            let node = ["first", "second"][index];
            assert!(
                document.contains(&format!(
                    "    spec:\n      nodeSelector:\n        kubernetes.io/hostname: {node}\n"
                )),
                "{document}"
            );
        }
        assert_eq!(text.matches("nodeSelector").count(), PLACES.len());
    }
}
