//! The demo's fault, as the command-line tool finds it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weft_tests::kubernetes::{Cluster, wait};

use super::installed::{stat, with_viz};
use crate::quick_start::demo;

const DOUGHNUT: &str = "/emojivoto.v1.VotingService/VoteDoughnut";
/// The demo votes for the doughnut every few seconds.
const SEEN: Duration = Duration::from_secs(60);

pub(super) fn stat_finds_what_fails() -> Result<()> {
    with_viz(|cluster| {
        for kind in ["deployment", "pod", "service"] {
            wait::until_ok_for(SEEN, "figures that show the fault", || {
                let rows = stat(cluster, &[kind])?;
                let voting = success(&rows, "voting")?;
                ensure!(voting > 0.0 && voting < 1.0, "{kind}: voting's success rate is {voting}");
                let emoji = success(&rows, "emoji")?;
                ensure!(emoji == 1.0, "{kind}: emoji's success rate is {emoji}");
                Ok(())
            })?;
        }
        let table = cluster.weft(&["viz", "stat", "deploy", "-n", demo::NAMESPACE])?;
        let voting = table.lines().find(|line| line.contains("voting")).with_context(|| table.clone())?;
        ensure!(voting.contains("1/1") && voting.contains('%') && voting.contains("rps"), "{table}");
        Ok(())
    })
}

/// The success rate of the row whose name begins like this.
fn success(rows: &Value, name: &str) -> Result<f64> {
    let rows = rows.as_array().context("no rows")?;
    let is_it = |row: &&Value| row["name"].as_str().is_some_and(|found| found.starts_with(name));
    let row = rows.iter().find(is_it).with_context(|| format!("no {name} in {rows:?}"))?;
    row["success"].as_f64().with_context(|| format!("no success rate: {row}"))
}

pub(super) fn tap_shows_the_call_that_fails() -> Result<()> {
    with_viz(|cluster| {
        let tap = Lines::of(cluster, &["viz", "tap", "deploy/voting", "-n", demo::NAMESPACE])?;
        let request =
            tap.find(|line| line.starts_with("req ") && line.contains(&format!(":path={DOUGHNUT}")))?;
        ensure!(request.contains(":method=POST") && !request.contains("tls=no_identity"), "{request}");
        let id = request.split(' ').find(|word| word.starts_with("id=")).context("no id")?.to_owned();
        let end = tap.find(|line| line.starts_with("end ") && line.split(' ').any(|word| word == id))?;
        ensure!(end.to_lowercase().contains("grpc-status=unknown"), "{end}");
        tap.find(|line| line.starts_with("end ") && line.contains("grpc-status=OK"))?;
        // The same as JSON, with a filter: nothing else is shown.
        let words = ["viz", "tap", "deploy/web", "--to", "svc/voting-svc", "--path", DOUGHNUT, "-o", "json"];
        let tap = Lines::of(cluster, &[&words[..], &["-n", demo::NAMESPACE]].concat())?;
        let request: Value = serde_json::from_str(&tap.find(|line| line.contains("requestInitEvent"))?)?;
        ensure!(request["requestInitEvent"]["path"] == DOUGHNUT, "{request}");
        ensure!(request["proxyDirection"] == "OUTBOUND", "{request}");
        Ok(())
    })
}

/// The lines of a command that does not end by itself; killed when this is dropped.
struct Lines {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    fn of(cluster: &Cluster, arguments: &[&str]) -> Result<Self> {
        let mut command = cluster.weft_command(arguments)?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let (send, lines) = mpsc::channel();
        // The thread ends with the command, or when nobody listens any more.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Ok(Self { child, lines })
    }

    /// The next line for which this holds.
    fn find(&self, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + SEEN;
        let mut last = String::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if is_it(&line) => return Ok(line),
                Ok(line) => last = line,
                Err(_) => break,
            }
        }
        bail!("the line did not come; the last one was {last:?}")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo's calls.
const CALLS: [(&str, &str); 3] = [("vote-bot", "web"), ("web", "emoji"), ("web", "voting")];

pub(super) fn edges_are_secured() -> Result<()> {
    with_viz(|cluster| {
        let edges = ["viz", "edges", "deploy", "-n", demo::NAMESPACE];
        wait::until_ok_for(SEEN, "secured edges", || {
            let rows = cluster.weft(&[&edges[..], &["-o", "json"]].concat())?;
            let rows: Value = serde_json::from_str(&rows)?;
            for (source, destination) in CALLS {
                let rows = rows.as_array().context("no rows")?;
                let is_it = |row: &&Value| row["src"] == source && row["dst"] == destination;
                let row = rows
                    .iter()
                    .find(is_it)
                    .with_context(|| format!("no {source} to {destination}: {rows:?}"))?;
                ensure!(row["secured"] == "mtls" || row["secured"] == "same_node", "{row}");
                let id = row["server_id"].as_str().unwrap_or_default();
                ensure!(id.starts_with(&format!("{destination}.{}.", demo::NAMESPACE)), "{row}");
            }
            Ok(())
        })?;
        let table = cluster.weft(&edges)?;
        ensure!(table.starts_with("SRC") && table.contains('√'), "{table}");
        Ok(())
    })
}
