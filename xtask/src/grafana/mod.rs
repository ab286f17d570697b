//! `cargo xtask grafana`: writes weft's dashboards for Grafana.
//!
//! Dashboards of Deployments, StatefulSets and so on differ in one label only, so they are made from one description.

mod health;
mod kubernetes;
mod model;
mod overview;
mod query;
mod route;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod series;
mod service;
mod workload;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};

use self::model::Dashboard;
use crate::{Command, host};

pub(crate) const COMMAND: Command = Command {
    name: "grafana",
    arguments: "",
    what: "Writes the dashboards in deploy/grafana/dashboards from their description in xtask/src/grafana.",
    why: "A test fails if they differ from it. Grafana imports the files as they are.",
    example: "cargo xtask grafana",
    run,
};

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("grafana takes no argument, not {argument:?}");
    }
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let files = files();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let is_ours = |name: &str| files.contains_key(name) || !name.ends_with(".json");
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours) {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("  {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn folder() -> PathBuf {
    host::root().join("deploy/grafana/dashboards")
}

/// The names and texts of all files.
fn files() -> BTreeMap<String, String> {
    let text = |dashboard: &Dashboard| format!("{:#}\n", dashboard.json());
    dashboards().iter().map(|dashboard| (format!("{}.json", dashboard.name), text(dashboard))).collect()
}

fn dashboards() -> Vec<Dashboard> {
    let mut all = vec![overview::top_line(), overview::namespace(), service::dashboard(), route::dashboard()];
    all.extend(workload::dashboards());
    all.extend([health::dashboard(), kubernetes::dashboard()]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_the_description_says() {
        for (name, text) in files() {
            let file = fs::read_to_string(folder().join(&name)).unwrap_or_default();
            assert!(file == text, "{name} is not current: run `cargo xtask grafana`");
        }
        let count = fs::read_dir(folder()).unwrap().flatten();
        let json = count.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")).count();
        assert_eq!(json, files().len(), "deploy/grafana/dashboards has a file that nothing describes");
    }
}
