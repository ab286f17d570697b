//! A shell as a user of the documents has it: kubectl and weft are in PATH, and the folder is that of the checkout.

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use weft_tests::{
    kubernetes::{Cluster, output, wait},
    mesh::artefacts,
    netns::Netns,
};

const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// It is in the network of the cluster's control plane: the ports that the documents name are free there, whatever else
/// runs on this machine.
pub(super) struct Shell {
    netns: Netns,
    path: String,
    kubeconfig: PathBuf,
}

/// A command that goes on until this is dropped, and the lines that it prints.
pub(super) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Shell {
    pub(super) fn of(cluster: &Cluster) -> Result<Self> {
        let programs = cluster.program("kubectl");
        let programs = programs.parent().context("kubectl has no folder")?.to_owned();
        let weft = artefacts::target_directory()?.join("debug");
        let system = env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        Ok(Self {
            netns: Netns::at(cluster.node_netns("control")),
            path: format!("{}:{}:{system}", weft.display(), programs.display()),
            kubeconfig: cluster.kubeconfig(),
        })
    }

    /// The output of a command line; an error if any part of a pipe fails.
    pub(super) fn run(&self, line: &str) -> Result<String> {
        let mut command = self.bash(line);
        self.netns.run(|| output(command.stdin(Stdio::null())))?
    }

    /// Starts a single command that does not end by itself.
    pub(super) fn start(&self, line: &str) -> Result<Running> {
        // Without a shell in between, so that it is the command that is ended.
        let mut command = self.bash(&format!("exec {line}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.netns.run(|| command.spawn())?.with_context(|| line.to_owned())?;
        let (send, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // The thread ends with the command. It reads on when nobody listens: the command must not block.
            thread::spawn(move || {
                BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
            });
        }
        Ok(Running { child, lines })
    }

    /// A connection to a port of `localhost`, as a browser beside this shell makes it.
    pub(super) fn connect(&self, port: u16) -> Result<TcpStream> {
        let stream = self.netns.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
        let stream = stream.with_context(|| format!("localhost:{port}"))?;
        stream.set_read_timeout(Some(wait::EVENTUALLY))?;
        Ok(stream)
    }

    fn bash(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", line]).current_dir(CHECKOUT);
        command.env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig).env("NO_COLOR", "1");
        command
    }
}

impl Running {
    /// The next line that has this text.
    pub(super) fn line_with(&self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + wait::here(limit);
        let mut last = String::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(line) => last = line,
                Err(_) => break,
            }
        }
        bail!("no line with {text:?} came; the last one was {last:?}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
