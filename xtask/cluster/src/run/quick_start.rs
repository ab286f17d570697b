//! The quick start of README.md, and its removal.

use anyhow::{Context, Result, ensure};

use super::tools::{
    Tool::{Kubectl, Weft},
    Tools,
};
use crate::say::say;

pub(super) const NAMESPACE: &str = "emojivoto";
/// The demo's deployments that serve requests; voting fails on purpose.
pub(super) const SERVERS: [&str; 3] = ["emoji", "voting", "web"];
pub(super) const FAULT: &str = "voting";
const DEMO: &str = include_str!("../../../../deploy/demo/emojivoto.yaml");
const IMAGES: &str = "do the cluster's nodes have weft's images? README.md says how they get them";

/// What this has installed: what was there before is left alone.
#[derive(Debug, Default)]
pub(super) struct QuickStart {
    kinds: bool,
    weft: bool,
    demo: bool,
}

impl QuickStart {
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
        tools.pipe(&[(Weft, "check --pre")])?;
        let kinds =
            tools.output(Kubectl, "get crd servers.policy.linkerd.io --ignore-not-found -o name", None)?;
        self.kinds = kinds.trim().is_empty();
        tools.pipe(&[(Weft, "install --crds"), (Kubectl, "apply -f -")])?;
        self.weft = true;
        tools.pipe(&[(Weft, "install"), (Kubectl, "apply -f -")])?;
        tools.pipe(&[(Weft, "check --wait 3m")]).map(drop).context(IMAGES)
    }

    fn install_demo(&mut self, tools: &Tools) -> Result<()> {
        let found = format!("get namespace {NAMESPACE} --ignore-not-found -o name");
        if !tools.output(Kubectl, &found, None)?.trim().is_empty() {
            say(format_args!("  there is a namespace {NAMESPACE} already, which is left as it is"));
            return Ok(());
        }
        self.demo = true;
        tools.pipe_text(Some(DEMO), &[(Kubectl, "apply -f -")])?;
        let available =
            format!("-n {NAMESPACE} wait --for=condition=Available --timeout=120s deployment --all");
        tools.pipe(&[(Kubectl, &available)]).context(IMAGES)?;
        let before = self.lives(tools)?;
        let get = format!("get -n {NAMESPACE} deploy -o yaml");
        tools.pipe(&[(Kubectl, &get), (Weft, "inject -"), (Kubectl, "apply -f -")])?;
        tools.pipe(&[(Weft, &format!("-n {NAMESPACE} check --proxy --wait 2m"))])?;
        let after = self.lives(tools)?;
        ensure!(before == after, "pods were replaced or restarted: {before}, then {after}");
        say(format_args!("  The same pods run, none has restarted, and now they are meshed."));
        Ok(())
    }

    /// The pods' identities and restarts.
    fn lives(&self, tools: &Tools) -> Result<String> {
        let path = "jsonpath={.items[*]['metadata.uid','status.containerStatuses[0].restartCount']}";
        tools.output(Kubectl, &format!("-n {NAMESPACE} get pods -o {path}"), None)
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
