//! Dashboards and panels, and how they are written for Grafana.

use serde_json::{Value, json};

/// What is common to all dashboards of weft; links between them use the tag.
const TAG: &str = "weft";
const SCHEMA: u32 = 39;
/// The width of a dashboard.
const COLUMNS: u32 = 24;

pub(super) struct Dashboard {
    /// Of its file. With `weft-` before it, it is the dashboard's uid.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) variables: Vec<Variable>,
    pub(super) rows: Vec<Row>,
}

/// A choice at the top of a dashboard. Its values are those of a label.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The series that have the label.
    pub(super) series: String,
    pub(super) label: &'static str,
}

/// Panels below a heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

pub(super) struct Panel {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) unit: &'static str,
    kind: Kind,
    width: u32,
    /// Queries, and how their series are called.
    pub(super) targets: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Lines over time.
    Lines,
    /// The current value.
    Number,
    /// The current values as bars, the smallest or largest first.
    Bars,
}

impl Dashboard {
    pub(super) fn json(&self) -> Value {
        let variables: Vec<Value> =
            [datasource()].into_iter().chain(self.variables.iter().map(Variable::json)).collect();
        json!({
            "uid": format!("weft-{}", self.name),
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"},
            "timezone": "browser",
            "links": [{
                "type": "dashboards",
                "title": "weft",
                "tags": [TAG],
                "asDropdown": true,
                "includeVars": true,
                "keepTime": true,
            }],
            "templating": {"list": variables},
            "panels": self.layout(),
        })
    }

    /// Places panels from left to right, and headings between them.
    fn layout(&self) -> Vec<Value> {
        let mut placed = Vec::new();
        let (mut id, mut y) = (0, 0);
        let mut number = || {
            id += 1;
            id
        };
        for row in &self.rows {
            placed.push(json!({
                "id": number(),
                "type": "row",
                "title": row.title,
                "collapsed": false,
                "panels": [],
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    (x, y, height) = (0, y + height, 0);
                }
                placed.push(panel.json(number(), x, y));
                x += panel.width;
                height = height.max(panel.kind.height());
            }
            y += height;
        }
        placed
    }
}

impl Variable {
    /// The values of `label` of pods that the proxies serve.
    pub(super) fn of_workloads(name: &'static str, title: &'static str, label: &'static str) -> Self {
        let filter = if name == "namespace" { "" } else { "{namespace=\"$namespace\"}" };
        Self { name, title, series: format!("weft_workload_served{filter}"), label }
    }

    fn json(&self) -> Value {
        let query = format!("label_values({}, {})", self.series, self.label);
        json!({
            "type": "query",
            "name": self.name,
            "label": self.title,
            "datasource": source(),
            "definition": query,
            "query": {"query": query, "refId": "values"},
            // When the time range changes, too.
            "refresh": 2,
            "sort": 1,
            "multi": false,
            "includeAll": false,
        })
    }
}

impl Row {
    pub(super) fn new(title: &'static str, panels: impl IntoIterator<Item = Panel>) -> Self {
        Self { title, panels: panels.into_iter().collect() }
    }
}

impl Panel {
    pub(super) fn lines(
        title: impl Into<String>,
        unit: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self::new(title.into(), unit, description.into(), Kind::Lines, 8)
    }

    pub(super) fn number(
        title: impl Into<String>,
        unit: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self::new(title.into(), unit, description.into(), Kind::Number, 4)
    }

    pub(super) fn bars(title: impl Into<String>, unit: &'static str, description: impl Into<String>) -> Self {
        Self::new(title.into(), unit, description.into(), Kind::Bars, 12)
    }

    fn new(title: String, unit: &'static str, description: String, kind: Kind, width: u32) -> Self {
        Self { title, description, unit, kind, width, targets: Vec::new() }
    }

    pub(super) fn width(self, width: u32) -> Self {
        Self { width, ..self }
    }

    pub(super) fn query(mut self, query: impl Into<String>, name: impl Into<String>) -> Self {
        self.targets.push((query.into(), name.into()));
        self
    }

    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let targets = self.targets.iter().zip('A'..).map(|((query, name), letter)| {
            json!({
                "datasource": source(),
                "editorMode": "code",
                "expr": query,
                "legendFormat": name,
                "refId": letter,
                "instant": !matches!(self.kind, Kind::Lines),
                "range": matches!(self.kind, Kind::Lines),
            })
        });
        json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": self.description,
            "datasource": source(),
            "gridPos": {"h": self.kind.height(), "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": self.field(), "overrides": []},
            "options": self.kind.options(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    fn field(&self) -> Value {
        let mut field = json!({"unit": self.unit, "min": 0});
        if self.unit == "percentunit" {
            field["max"] = json!(1);
            field["thresholds"] = json!({"mode": "absolute", "steps": [
                {"color": "red", "value": null},
                {"color": "orange", "value": 0.9},
                {"color": "green", "value": 0.95},
            ]});
        }
        if matches!(self.kind, Kind::Lines) {
            field["custom"] =
                json!({"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": 60_000});
        }
        field
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lines => "timeseries",
            Self::Number => "stat",
            Self::Bars => "bargauge",
        }
    }

    fn height(self) -> u32 {
        if matches!(self, Self::Number) { 4 } else { 8 }
    }

    fn options(self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self {
            Self::Lines => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Self::Number => json!({"colorMode": "value", "graphMode": "none", "reduceOptions": last}),
            Self::Bars => json!({"displayMode": "basic", "orientation": "horizontal", "reduceOptions": last}),
        }
    }
}

/// The choice of a Prometheus.
fn datasource() -> Value {
    json!({
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {},
        "refresh": 1,
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}
