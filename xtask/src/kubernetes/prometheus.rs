//! Builds Prometheus from its Go module, for the cluster of the tests. Debian's does not know Kubernetes.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::go;
use crate::steps;

/// The tag of the chart weft-viz.
pub(super) const VERSION: &str = "3.16.0";
/// Go modules of a version from 2 on have it in their names; Prometheus counts from 0.300 instead.
const PACKAGE: &str = "github.com/prometheus/prometheus/cmd/prometheus@v0.316.0";
/// Without the clients of two dozen clouds.
const TAGS: &str = "remove_all_sd enable_kubernetes_sd";
const LIMIT: Duration = Duration::from_secs(3600);

/// Builds `folder/bin/prometheus` if it is missing. It is no part of the folder's name, so that another version of it
/// makes nothing else be built again.
pub(super) fn ensure(folder: &Path) -> Result<()> {
    let (bin, stamp) = (folder.join("bin"), folder.join("bin/.prometheus-version"));
    let program = bin.join("prometheus");
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == PACKAGE) {
        return Ok(());
    }
    println!("    prometheus from {PACKAGE} (at most about 4m00s)");
    let target = bin.join(".install");
    let flags = format!("-s -w -X github.com/prometheus/common/version.Version={VERSION}");
    let mut install = Command::new(go::ensure()?);
    install.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "auto").env_remove("GOFLAGS").env("GOBIN", &target);
    install.args(["install", "-tags", TAGS, "-ldflags", &flags, PACKAGE]);
    steps::quiet(&mut install, "go-prometheus", LIMIT)?;
    fs::rename(target.join("prometheus"), &program).context("go install made no program")?;
    fs::remove_dir_all(target)?;
    // An image of another version is made again.
    let _ = fs::remove_file(folder.join("images/prometheus.tar"));
    fs::write(&stamp, PACKAGE).with_context(|| stamp.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn the_chart_has_the_same_version() {
        let values = host::root().join("deploy/charts/weft-viz/values.yaml");
        let values = fs::read_to_string(values).unwrap();
        assert!(values.contains(&format!("tag: v{VERSION}\n")), "{VERSION}");
        let minor = VERSION.split('.').nth(1).unwrap();
        assert!(PACKAGE.ends_with(&format!("@v0.3{minor}.0")), "{PACKAGE}");
    }
}
