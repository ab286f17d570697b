//! A weft-control process, and what the kernel says about it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The namespace of the control plane.
pub(crate) const NAMESPACE: &str = "weft";
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
/// The kernel counts processor time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// Dropping it ends it.
pub(crate) struct Control {
    child: Child,
    state: PathBuf,
    _folder: tempfile::TempDir,
}

impl Control {
    /// Starts it. The time is until the index has all objects, when it begins to listen.
    pub(crate) async fn start(program: &Path, kubeconfig: &Path) -> Result<(Self, Duration)> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let begun = Instant::now();
        let child = Command::new(program)
            .arg("--kubernetes")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--state")
            .arg(&state)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--webhook", "127.0.0.1:0"])
            .args(["--control-plane-namespace", NAMESPACE, "--log-level", "error"])
            // As the chart sets them.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut control = Self { child, state, _folder: folder };
        while !control.state.join("admin-address").exists() {
            if let Some(status) = control.child.try_wait()? {
                bail!("weft-control ended: {status}");
            }
            if begun.elapsed() > START {
                bail!("weft-control has not read the cluster after {START:?}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok((control, begun.elapsed()))
    }

    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.text("address")?.parse()?)
    }

    /// The identity that it proves.
    pub(crate) fn identity(&self) -> Result<String> {
        self.text("identity")
    }

    pub(crate) fn anchors(&self) -> Result<Vec<u8>> {
        let path = self.state.join("anchors.pem");
        fs::read(&path).with_context(|| path.display().to_string())
    }

    /// Waits until it answers: the nodes have reported.
    pub(crate) async fn ready(&self) -> Result<()> {
        let admin: SocketAddr = self.text("admin-address")?.parse()?;
        let begun = Instant::now();
        loop {
            let mut stream = TcpStream::connect(admin).await?;
            stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            if answer.starts_with("HTTP/1.1 200 ") {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!("weft-control does not become ready: {answer}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Resident bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident bytes that it has had.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Seconds of processor time.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may have spaces.
        let (_, after) = text.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let field = |number: usize| -> Result<f64> {
            Ok(after.split_whitespace().nth(number).context("/proc/PID/stat is too short")?.parse()?)
        };
        Ok((field(11)? + field(12)?) / TICKS_PER_SECOND)
    }

    fn status(&self, name: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    fn text(&self, file: &str) -> Result<String> {
        let path = self.state.join(file);
        Ok(fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
