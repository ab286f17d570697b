//! The Helm charts that the tool contains, and how it renders them.

mod coalesce;
mod documents;
mod functions;
mod json;
#[cfg(test)]
mod promises;
mod render;
mod schema;
mod set;
mod values;
mod yaml;

use anyhow::{Context, Result};
use serde_json::Value;

pub(crate) use self::{
    coalesce::coalesce,
    documents::Document,
    render::Release,
    set::{SetKind, set},
    values::{parse_values, take, value_at},
    yaml::to_yaml,
};

include!(concat!(env!("OUT_DIR"), "/charts.rs"));

/// weft's control plane and node proxies.
pub(crate) const CONTROL_PLANE: Chart = Chart { name: "weft-control-plane", files: CONTROL_PLANE_FILES };
/// The kinds of policies.
pub(crate) const CRDS: Chart = Chart { name: "weft-crds", files: CRDS_FILES };
/// The dashboard, taps and Prometheus.
pub(crate) const VIZ: Chart = Chart { name: "weft-viz", files: VIZ_FILES };

/// A chart, as it is in deploy/charts.
pub(crate) struct Chart {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

impl Chart {
    /// The text of a file, named by its path inside the chart.
    pub(crate) fn file(&self, name: &str) -> Option<&'static str> {
        self.files.iter().find(|(path, _)| *path == name).map(|(_, text)| *text)
    }

    /// The values of values.yaml.
    pub(crate) fn defaults(&self) -> Result<Value> {
        parse_values(self.file("values.yaml").unwrap_or_default())
            .with_context(|| format!("values.yaml of the chart {}", self.name))
    }

    /// The values of the file for high availability.
    pub(crate) fn high_availability(&self) -> Result<Value> {
        parse_values(self.file("values-ha.yaml").unwrap_or_default())
            .with_context(|| format!("values-ha.yaml of the chart {}", self.name))
    }

    /// The objects of the chart for `overrides` of its default values, in an order in which they can be applied.
    pub(crate) fn render(&self, overrides: &Value, release: &Release) -> Result<Vec<Document>> {
        let values = coalesce(self.defaults()?, overrides);
        if let Some(schema) = self.file("values.schema.json") {
            schema::check(self.name, schema, &values)?;
        }
        documents::split(self.name, render::render(self, &values, release)?)
    }

    fn templates(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.files.iter().copied().filter(|(path, _)| path.starts_with("templates/"))
    }
}
