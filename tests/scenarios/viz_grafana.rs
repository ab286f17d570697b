//! Grafana's dashboards: each query runs against a real Prometheus, while the demo runs as workloads of every kind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weft_tests::{
    mesh::artefacts::target_directory,
    prometheus::{label_values, query},
    suite::{Area, skip},
    wait,
};
use weft_vm::{
    Cluster, ClusterConfig, Manifests, http,
    viz::{Prometheus, Server},
};

pub(crate) fn area() -> Area {
    Area::without_cluster("viz_grafana")
        .bare(
            "every_panel_has_data",
            "Every query of every dashboard returns data from a real Prometheus under the demo's traffic, and the broken \
             doughnut is seen on the dashboards of the whole mesh and of its Deployment.",
            every_panel_has_data,
        )
        .within(Duration::from_secs(180))
        .bare("linter", "Grafana's dashboard-linter finds nothing in the dashboards.", linter)
}

const DEMO: &str = include_str!("../../demo/manifests/emojivoto.yaml");
/// The label in the demo's manifest, and the kinds that a copy of the demo has instead.
const DEPLOYMENT: &str = "linkerd.io/proxy-deployment:";
const KINDS: [&str; 6] = ["deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob"];
/// The services of the demo: one has HTTP, the other gRPC.
const SERVICES: [&str; 2] = ["web-svc", "voting-svc"];
/// It needs figures of kubelets; kubernetes::viz::every_panel_of_containers_has_data asks for them.
const ONLY_ON_KUBERNETES: &str = "kubernetes.json";
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// What Grafana would take for such an interval is four times as long; a busy machine may miss some.
const RATE_INTERVAL: &str = "15s";
const LIMIT: Duration = Duration::from_secs(90);

fn every_panel_has_data() -> Result<()> {
    let (cluster, mut prometheus) = start()?;
    prometheus.until_ready()?;
    let server = Server::start(&cluster, Some((&prometheus.url(), SCRAPE_INTERVAL)))?;
    let mut asked = 0;
    for file in dashboards()? {
        let dashboard = Dashboard::read(&file)?;
        wait::until_ok_for(LIMIT, &dashboard.name, || {
            // The dashboard asks Prometheus, which is a figure too.
            let answer = http::get(server.address(), "/api/overview")?;
            ensure!(answer.status == 200, "/api/overview: {} {}", answer.status, answer.body);
            dashboard.check(&prometheus)
        })?;
        asked += dashboard.panels.len();
    }
    println!("{asked} panels of {} dashboards have data", dashboards()?.len());
    wait::until_ok_for(LIMIT, "the doughnut is seen", || doughnut(&prometheus))?;
    drop((server, prometheus));
    Ok(cluster.stop()?)
}

/// The demo once for each kind of workload.
fn start() -> Result<(Cluster, Prometheus)> {
    let copy = |kind: &str| {
        let text = DEMO.replace(DEPLOYMENT, &format!("linkerd.io/proxy-{kind}:"));
        (format!("{kind}.yaml"), text.replace("emojivoto", &namespace(kind)))
    };
    let manifests = Manifests::Embedded(KINDS.map(copy).into());
    let mut config = ClusterConfig::new(format!("grafana-{}", std::process::id()), manifests);
    config.taps = true;
    config.binaries = target_directory()?.join("debug");
    config.ready_timeout = wait::here(config.ready_timeout);
    let cluster = Cluster::start(config)?;
    let prometheus = Prometheus::start(&cluster, SCRAPE_INTERVAL)?;
    Ok((cluster, prometheus))
}

fn namespace(kind: &str) -> String {
    if kind == "deployment" { "emojivoto".to_owned() } else { format!("emojivoto-{kind}") }
}

struct Dashboard {
    name: String,
    /// Queries of its variables: series and label.
    variables: Vec<(String, String)>,
    /// Titles and queries.
    panels: Vec<(String, Vec<String>)>,
}

impl Dashboard {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        let json: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let name = file.file_stem().and_then(|name| name.to_str()).context("a name in UTF-8")?.to_owned();
        ensure!(json["uid"] == format!("weft-{name}").as_str(), "{name} has the uid {}", json["uid"]);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let definitions = list(&json["templating"]["list"]);
        let definitions = definitions.iter().filter_map(|variable| variable["definition"].as_str());
        let variables = definitions.map(|definition| {
            let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).context("label_values")?;
            Ok((series.to_owned(), label.to_owned()))
        });
        let variables = variables.collect::<Result<_>>()?;
        let panels = list(&json["panels"]);
        let panels = panels.iter().filter(|panel| panel["type"] != "row").map(|panel| {
            let queries = list(&panel["targets"])
                .iter()
                .filter_map(|t| t["expr"].as_str().map(str::to_owned))
                .collect();
            (panel["title"].as_str().unwrap_or_default().to_owned(), queries)
        });
        Ok(Self { name, variables, panels: panels.collect() })
    }

    /// Fails with all panels that have no data.
    fn check(&self, prometheus: &Prometheus) -> Result<()> {
        for (series, label) in &self.variables {
            let choices = self.filled(series);
            let mut found = choices.iter().map(|series| label_values(prometheus, series, label));
            ensure!(
                found.any(|values| values.is_ok_and(|values| !values.is_empty())),
                "{}: no value to choose of {label} in {series}",
                self.name
            );
        }
        let mut empty = Vec::new();
        for (title, queries) in &self.panels {
            for text in queries {
                if !self
                    .has_data(prometheus, text)
                    .with_context(|| format!("{}: {title}: {text}", self.name))?
                {
                    empty.push(format!("{title}: {text}"));
                }
            }
        }
        ensure!(empty.is_empty(), "panels of {} without data:\n{}", self.name, empty.join("\n"));
        Ok(())
    }

    /// With one of the choices that a user has.
    fn has_data(&self, prometheus: &Prometheus, text: &str) -> Result<bool> {
        for text in self.filled(text) {
            if query(prometheus, &text)?.iter().any(|sample| !sample.value.is_nan()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The query with values for its variables.
    fn filled(&self, text: &str) -> Vec<String> {
        let kind = KINDS.iter().find(|kind| **kind == self.name).unwrap_or(&KINDS[0]);
        let mut text =
            text.replace("$__rate_interval", RATE_INTERVAL).replace("$namespace", &namespace(kind));
        for kind in KINDS {
            text = text.replace(&format!("${kind}"), "web");
        }
        text = text.replace("$pod", "web");
        SERVICES.map(|service| text.replace("$service", service)).into()
    }
}

/// Votes for the doughnut fail: with gRPC's UNKNOWN, in the Deployment voting.
fn doughnut(prometheus: &Prometheus) -> Result<()> {
    let find = |dashboard: &str, title: &str| {
        let dashboard = Dashboard::read(&folder().join(format!("{dashboard}.json")))?;
        let panel = dashboard.panels.into_iter().find(|(found, _)| found == title);
        let query = panel.and_then(|(_, queries)| queries.into_iter().next()).context("no such panel")?;
        anyhow::Ok(query.replace("$__rate_interval", RATE_INTERVAL))
    };
    let worst = query(prometheus, &find("top-line", "Lowest success rate")?)?;
    let is_voting =
        |labels: &std::collections::BTreeMap<String, String>| labels.values().any(|value| value == "voting");
    let shown: Vec<_> = worst.iter().filter(|sample| sample.value < 0.95).collect();
    ensure!(shown.iter().any(|sample| is_voting(&sample.labels)), "voting is not among the worst: {worst:?}");

    let failures = find("deployment", "Failures by gRPC status")?;
    let failures = failures.replace("$namespace", "emojivoto").replace("$deployment", "voting");
    let failures = query(prometheus, &failures)?;
    let unknown = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get("grpc_status").is_some_and(|s| s == "2")
    };
    ensure!(
        failures.iter().any(|sample| unknown(&sample.labels) && sample.value > 0.0),
        "no failure with the status UNKNOWN: {failures:?}"
    );
    Ok(())
}

fn linter() -> Result<()> {
    let Some(linter) = find_linter() else {
        return Err(skip(
            "there is no dashboard-linter in PATH or in ~/.cache/weft/go/bin: go install \
             github.com/grafana/dashboard-linter@v0.1.0",
        ));
    };
    for file in dashboards()? {
        let output = Command::new(&linter).args(["lint", "--strict"]).arg(&file).output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{}:\n{out}{err}", file.display());
        }
    }
    Ok(())
}

fn find_linter() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cache = env::var_os("HOME").map(|home| Path::new(&home).join(".cache/weft/go/bin"));
    let mut folders = env::split_paths(&path).chain(cache);
    folders.find_map(|folder| Some(folder.join("dashboard-linter")).filter(|file| file.is_file()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/dashboards")
}

/// All but those that need a real Kubernetes.
fn dashboards() -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension().is_some_and(|extension| extension == "json") && !file.ends_with(ONLY_ON_KUBERNETES)
    });
    files.sort();
    ensure!(files.len() >= 10, "only {} dashboards in {}", files.len(), folder().display());
    Ok(files)
}
