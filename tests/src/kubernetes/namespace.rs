//! A namespace of one test, and commands inside it.

use anyhow::{Context, Result};

use super::{Cluster, wait};

/// It is deleted at the end of the test that has dropped this: a failure's report still has its pods.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Cluster {
    /// A new namespace; one that an earlier run has left is deleted first.
    pub fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found"])?;
        self.kubectl(&["create", "namespace", name])?;
        let namespace = Namespace { cluster: self, name: name.to_owned() };
        // Pods without it are refused.
        wait::until_ok("the default service account", || {
            namespace.kubectl(&["get", "serviceaccount", "default"]).map(drop)
        })?;
        Ok(namespace)
    }
}

impl Namespace<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl's output, in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", self.name.as_str()], arguments].concat())
    }

    /// `kubectl apply` in this namespace.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        let mut command = self.cluster.kubectl_command(&["--namespace", &self.name, "apply", "-f", "-"]);
        super::tools::feed(&mut command, manifests)
    }

    /// Waits for a workload, for example `deployment/web`.
    pub fn rolled_out(&self, workload: &str) -> Result<()> {
        self.cluster.rolled_out(&self.name, workload)
    }

    /// Waits until a pod is ready.
    pub fn pod_ready(&self, pod: &str) -> Result<()> {
        self.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=180s"]).map(drop)
    }

    /// The output of a command in a pod; `pod` as in `web` or `deployment/web`.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "--"], command].concat())
    }

    /// A field of an object, by a JSONPath without braces.
    pub fn field(&self, object: &str, path: &str) -> Result<String> {
        let text = self.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])?;
        Some(text).filter(|text| !text.is_empty()).with_context(|| format!("{object} has no {path}"))
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        self.cluster.add_unused(&self.name);
    }
}
