//! Runs curl inside a pod.

use anyhow::{Context, Result, ensure};

use crate::mesh::Pod;

/// What curl received.
#[derive(Debug)]
pub struct Fetched {
    /// curl's exit code; 0 is success.
    pub exit: i32,
    pub body: Vec<u8>,
    pub complaint: String,
}

/// Runs curl with these arguments. It reads no configuration and uses no proxy.
pub fn curl(pod: &Pod, arguments: &[&str]) -> Result<Fetched> {
    let mut command = pod.command("curl")?;
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
    let output = command.args(arguments).output().context("curl: is its Debian package installed?")?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let exit = output.status.code().with_context(|| format!("curl was killed; it said {complaint:?}"))?;
    Ok(Fetched { exit, body: output.stdout, complaint })
}

impl Fetched {
    /// The body, if curl was successful.
    pub fn body(self) -> Result<Vec<u8>> {
        ensure!(self.exit == 0, "curl ended with {}: {}", self.exit, self.complaint);
        Ok(self.body)
    }

    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.body()?).into_owned())
    }
}
