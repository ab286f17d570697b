//! h2spec, the conformance tests of HTTP/2 servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};

use super::Results;
use crate::{mesh::Pod, programs::languages::Go};

/// Runs all cases from `client` against a server of HTTP/2 without TLS.
pub fn h2spec(go: &Go, client: &Pod, host: &str, port: u16) -> Result<Results> {
    let run = |sections: &BTreeSet<String>| -> Result<Results> {
        let folder = tempfile::Builder::new().prefix("weft-h2spec-").tempdir()?;
        let report = folder.path().join("report.xml");
        let mut command = go.command(client, "h2spec")?;
        command.args(["--host", host, "--port", &port.to_string(), "--timeout", "3", "--junit-report"]);
        // Its exit code says whether all cases passed.
        let output = command.arg(&report).args(sections).output().context("h2spec")?;
        let said = String::from_utf8_lossy(&output.stdout);
        read(&fs::read_to_string(report).with_context(|| format!("h2spec made no report; it said {said}"))?)
    };
    let mut results = run(&BTreeSet::new())?;
    ensure!(results.count() > 100, "h2spec ran only {} cases", results.count());
    // Some cases look for an answer that the end of the connection may overtake. What fails is tried once more.
    let failed = results.failed().into_iter();
    let sections: BTreeSet<_> =
        failed.filter_map(|name| Some(name.split_once(": ")?.0.rsplit_once('/')?.0.to_owned())).collect();
    if !sections.is_empty() {
        let passed = run(&sections)?.0.into_iter().filter(|(_, outcome)| outcome.is_ok());
        results.0.extend(passed);
    }
    Ok(results)
}

/// Reads a report, as h2spec writes it.
fn read(report: &str) -> Result<Results> {
    let mut results = Results::default();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for case in report.split("<testcase ").skip(1) {
        let (case, _) = case.split_once("</testcase>").context("a case without an end")?;
        let attribute = |name: &str| -> Result<&str> {
            let (_, rest) = case.split_once(&format!("{name}=\"")).context("a case without an attribute")?;
            Ok(rest.split_once('"').context("an attribute without an end")?.0)
        };
        let section = attribute("package")?;
        // Cases of a section may have the same name.
        let number = numbers.entry(section.to_owned()).or_default();
        *number += 1;
        let name = format!("{section}/{number}: {}", attribute("classname")?);
        let wrong = ["<failure", "<error", "<skipped"].iter().find_map(|word| case.split_once(word));
        results.0.insert(name, wrong.map_or(Ok(()), |(_, why)| Err(why.to_owned())));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let results = read(
            r#"<testsuites><testsuite name="1. Starting HTTP/2" tests="2">
    <testcase package="generic/1" classname="Sends a client connection preface" time="0.0004"></testcase>
    <testcase package="generic/1" classname="Sends a client connection preface" time="0.0004">
      <failure>Timeout</failure></testcase></testsuite></testsuites>"#,
        )
        .expect("a report");
        assert_eq!((results.count(), results.passed()), (2, 1));
        assert_eq!(results.failed(), ["generic/1/2: Sends a client connection preface"]);
    }
}
