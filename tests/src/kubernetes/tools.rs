//! kubectl, helm and weft, as a user of the cluster runs them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use weft_vm::KubectlForward;

use super::cluster::{Cluster, output};
use crate::mesh::artefacts;

impl Cluster {
    /// kubectl, to be given more arguments.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        self.command(Command::new(self.program("kubectl")), arguments)
    }

    /// Forwards a free port of this machine to the target's, for example that of `svc/web-svc` and 80.
    pub fn forward(&self, namespace: &str, target: &str, port: u16) -> Result<KubectlForward> {
        KubectlForward::start(self.kubectl_command(&[]), namespace, target, port)
    }

    /// kubectl's output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.kubectl_command(arguments).stdin(Stdio::null()))
    }

    /// helm's output.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        output(self.command(Command::new(self.program("helm")), arguments).stdin(Stdio::null()))
    }

    /// weft's command-line tool, to be given more arguments.
    pub fn weft_command(&self, arguments: &[&str]) -> Result<Command> {
        let weft = artefacts::target_directory()?.join("debug/weft");
        Ok(self.command(Command::new(weft), arguments))
    }

    /// Output of weft's command-line tool.
    pub fn weft(&self, arguments: &[&str]) -> Result<String> {
        output(self.weft_command(arguments)?.stdin(Stdio::null()))
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        feed(&mut self.kubectl_command(&["apply", "-f", "-"]), manifests)
    }

    /// Waits until a workload's pods are those of its latest version and ready; `workload` as in `deployment/web`.
    pub fn rolled_out(&self, namespace: &str, workload: &str) -> Result<()> {
        self.kubectl(&["-n", namespace, "rollout", "status", workload, "--timeout=240s"]).map(drop)
    }

    fn command(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.env("KUBECONFIG", self.kubeconfig()).env("NO_COLOR", "1").args(arguments);
        command
    }
}

/// The output of a program that reads `input`.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| shown.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the program stops reading, it says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}\n{}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
