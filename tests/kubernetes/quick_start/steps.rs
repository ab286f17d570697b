//! The quick start, with the commands that README.md and docs/install.md tell a user to type.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use weft_tests::kubernetes::{Cluster, wait};

use super::{
    demo,
    documents::{INSTALL, Line, README, lines},
    shell::{Running, Shell},
};
use crate::installed::without_weft;

/// What must hold of a command. It runs the command itself.
type Check = fn(&mut Tour<'_>, Line) -> Result<()>;

/// Every command of the README's block, in its order. One that is not here fails the test, and so does one of these that
/// the README does not have.
const QUICK_START: [(&str, Check); 15] = [
    ("weft version", |tour, line| tour.prints(line, &["Client version: ", "Server version: unavailable"])),
    ("weft check --pre", |tour, line| tour.passes(line)),
    ("weft install --crds | kubectl apply -f -", |tour, line| {
        tour.prints(line, &["servers.policy.linkerd.io created"])
    }),
    ("weft install | kubectl apply -f -", |tour, line| {
        tour.prints(line, &["deployment.apps/weft-control created", "daemonset.apps/weft-proxy created"])
    }),
    ("weft check", |tour, line| tour.passes(line)),
    ("kubectl apply -f deploy/demo/emojivoto.yaml", deploy),
    ("kubectl -n emojivoto port-forward svc/web-svc 8080:80", open_page),
    ("kubectl get -n emojivoto deploy -o yaml | weft inject - | kubectl apply -f -", inject),
    ("weft -n emojivoto check --proxy", |tour, line| tour.passes(line)),
    ("kubectl get -n emojivoto pods", same_pods),
    ("weft viz install | kubectl apply -f -", |tour, line| {
        tour.prints(line, &["deployment.apps/web created"])
    }),
    ("weft viz check", |tour, line| tour.passes(line)),
    ("weft viz stat deploy -n emojivoto", find_the_fault),
    (
        "weft viz tap deploy/voting -n emojivoto --path /emojivoto.v1.VotingService/VoteDoughnut",
        tap_the_fault,
    ),
    ("weft viz dashboard", open_dashboard),
];

/// The same for the block below "Uninstall" in docs/install.md.
const UNINSTALL: [(&str, Check); 3] = [
    ("kubectl get -n emojivoto deploy -o yaml | weft uninject - | kubectl apply -f -", |tour, line| {
        tour.prints(line, &["deployment.apps/web configured"])
    }),
    ("weft uninstall | kubectl delete -f -", |tour, line| {
        tour.prints(line, &[r#"daemonset.apps "weft-proxy""#])
    }),
    // The policy kinds are removed last, and separately: every policy goes with them.
    ("weft uninstall --crds | kubectl delete -f -", |tour, line| {
        tour.prints(line, &[r#""servers.policy.linkerd.io""#])
    }),
];

const PAGE: u16 = 8080;
const DASHBOARD: u16 = 50750;
/// The demo votes for the doughnut every few seconds, and figures come after two scrapes.
const SEEN: Duration = Duration::from_secs(180);
const DOUGHNUT: &str = "VoteDoughnut";

pub(super) fn with_the_cli() -> Result<()> {
    without_weft(|cluster| {
        cluster.load_weft()?;
        cluster.load_prometheus()?;
        let mut tour =
            Tour { cluster, shell: Shell::of(cluster)?, lives: demo::Lives::new(), open: Vec::new() };
        tour.follow(&lines(README, "## Quick start on Kubernetes")?, &QUICK_START)?;
        ensure!(
            !tour.shell.run("weft version")?.contains("unavailable"),
            "weft is installed, but has no version"
        );
        tour.shell.run("weft viz uninstall | kubectl delete -f -")?;
        tour.follow(&lines(INSTALL, "## Uninstall")?, &UNINSTALL)?;
        tour.pods_have_stayed("leaving the mesh")?;
        demo::doughnut_fails(|| tour.shell.connect(PAGE))?;
        demo::remove(cluster)
    })
}

/// A user on the way through the documents.
struct Tour<'a> {
    cluster: &'a Cluster,
    shell: Shell,
    /// The demo's pods before they joined the mesh.
    lives: demo::Lives,
    /// What runs in the background.
    open: Vec<Running>,
}

impl Tour<'_> {
    fn follow(&mut self, lines: &[Line], steps: &[(&str, Check)]) -> Result<()> {
        let (documented, tested): (Vec<&str>, Vec<&str>) = (
            lines.iter().map(|line| line.command).collect(),
            steps.iter().map(|(command, _)| *command).collect(),
        );
        ensure!(
            documented == tested,
            "the documents and the test have different commands: {documented:#?}, {tested:#?}"
        );
        for (line, (_, check)) in lines.iter().zip(steps) {
            println!("$ {}", line.command);
            check(self, *line).with_context(|| format!("$ {}", line.command))?;
        }
        Ok(())
    }

    /// Runs a command and looks for texts in what it prints.
    fn prints(&mut self, line: Line, texts: &[&str]) -> Result<()> {
        let printed = self.run(line)?;
        let missing = texts.iter().find(|text| !printed.contains(**text));
        ensure!(missing.is_none(), "no {missing:?} in:\n{printed}");
        Ok(())
    }

    fn passes(&mut self, line: Line) -> Result<()> {
        passes(&self.run(line)?)
    }

    fn run(&self, line: Line) -> Result<String> {
        ensure!(!line.in_background, "the document has this command in the background");
        self.shell.run(line.command)
    }

    fn start(&mut self, line: Line) -> Result<&Running> {
        ensure!(line.in_background, "the command does not end: the document must have it in the background");
        let running = self.shell.start(line.command)?;
        self.open.push(running);
        self.open.last().context("it was added a moment ago")
    }

    fn pods_have_stayed(&self, during: &str) -> Result<()> {
        let now = demo::lives(self.cluster)?;
        ensure!(now == self.lives, "{during} has restarted pods: {:?}, then {now:?}", self.lives);
        Ok(())
    }

    /// An answer of the dashboard.
    fn dashboard(&self, path: &str) -> Result<String> {
        let mut stream = self.shell.connect(DASHBOARD)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{DASHBOARD}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        Ok(answer)
    }
}

fn deploy(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    tour.prints(line, &["deployment.apps/web created"])?;
    demo::spread(tour.cluster)?;
    tour.lives = demo::lives(tour.cluster)?;
    Ok(())
}

fn open_page(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    tour.start(line)?.line_with("Forwarding from 127.0.0.1:8080", SEEN)?;
    demo::doughnut_fails(|| tour.shell.connect(PAGE))
}

fn inject(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    tour.prints(line, &["deployment.apps/web configured"])?;
    demo::is_meshed(tour.cluster)?;
    demo::wire_is_encrypted(tour.cluster)?;
    demo::doughnut_fails(|| tour.shell.connect(PAGE))
}

/// README: "the same pods, 1/1, no restart, now meshed".
fn same_pods(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    let table = tour.run(line)?;
    let rows: Vec<&str> = table.lines().skip(1).collect();
    ensure!(rows.len() == tour.lives.len(), "{table}");
    for row in rows {
        let columns: Vec<&str> = row.split_whitespace().collect();
        ensure!(columns[1..4] == ["1/1", "Running", "0"], "{row}");
    }
    tour.pods_have_stayed("joining the mesh")
}

/// README: "voting and web are below 100 %".
fn find_the_fault(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    wait::until_ok_for(SEEN, "figures that show the fault", || {
        let table = tour.run(line)?;
        for (name, is_well) in [("voting", false), ("web", false), ("emoji", true)] {
            let row = table.lines().find(|row| row.split_whitespace().next() == Some(name));
            let row = row.with_context(|| format!("no {name} in:\n{table}"))?;
            let success = row.split_whitespace().find(|word| word.ends_with('%'));
            let success = success.with_context(|| format!("no success rate: {row}"))?;
            ensure!((success == "100.00%") == is_well, "{row}");
        }
        Ok(())
    })
}

/// A user ends it with Ctrl-C.
fn tap_the_fault(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    let tap = tour.shell.start(line.command)?;
    let request = tap.line_with("req ", SEEN)?;
    ensure!(request.contains(DOUGHNUT), "{request}");
    Ok(())
}

/// README: "its first page names the call that fails".
fn open_dashboard(tour: &mut Tour<'_>, line: Line) -> Result<()> {
    tour.start(line)?.line_with(&format!("http://localhost:{DASHBOARD}"), SEEN)?;
    ensure!(tour.dashboard("/")?.contains("<html"), "this is no page");
    wait::until_ok_for(SEEN, "the first page's figures name the call", || {
        let overview = tour.dashboard("/api/overview")?;
        ensure!(overview.contains(DOUGHNUT), "{overview}");
        Ok(())
    })
}

/// Every check has passed, none with a warning.
pub(crate) fn passes(report: &str) -> Result<()> {
    ensure!(report.trim_end().ends_with("Status check results are √"), "{report}");
    if report.contains(['×', '‼']) {
        bail!("{report}");
    }
    Ok(())
}
