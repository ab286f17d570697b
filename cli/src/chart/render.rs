//! Renders the templates of a chart, as Helm does.

use std::sync::{Arc, Weak};

use anyhow::{Context, Result, anyhow};
use gotmpl::{Template, TemplateError, Value, tmap};

use super::{Chart, functions::functions, json::from_json, parse_values};

/// What a template knows about the installation.
pub(crate) struct Release {
    pub(crate) namespace: String,
    pub(crate) upgrade: bool,
}

/// The texts of the chart's templates, with their paths.
pub(super) fn render(
    chart: &Chart,
    values: &serde_json::Value,
    release: &Release,
) -> Result<Vec<(&'static str, String)>> {
    let data = data(chart, values, release)?;
    let helpers: String =
        chart.templates().filter(|(path, _)| path.ends_with(".tpl")).map(|(_, text)| text).collect();
    let helpers = Helpers::new(&helpers)?;
    let mut rendered = Vec::new();
    for (path, text) in chart.templates().filter(|(path, _)| path.ends_with(".yaml")) {
        let template =
            helpers.template(path).parse(text).with_context(|| format!("{}/{path}", chart.name))?;
        let text = template
            .execute_to_string(&data)
            .map_err(|error| match error {
                // What `fail` and `required` say is for the user.
                TemplateError::Exec(message) => anyhow!(message),
                error => anyhow!("{}/{path}: {error}", chart.name),
            })?
            .replace("<no value>", "");
        rendered.push((path, text));
    }
    Ok(rendered)
}

/// The named templates, which `include` executes.
struct Helpers(Arc<gotmpl::Result<Template>>);

impl Helpers {
    fn new(text: &str) -> Result<Self> {
        let helpers = Arc::new_cyclic(|helpers| with_functions("helpers", helpers.clone()).parse(text));
        match &*helpers {
            Ok(_) => Ok(Self(helpers)),
            Err(error) => Err(anyhow!("_helpers.tpl: {error}")),
        }
    }

    fn template(&self, name: &str) -> Template {
        with_functions(name, Arc::downgrade(&self.0))
    }
}

fn with_functions(name: &str, helpers: Weak<gotmpl::Result<Template>>) -> Template {
    Template::new(name).funcs(functions()).func("include", move |args| {
        let [Value::String(name), data] = args else {
            return Err(TemplateError::Exec("include needs a name and data".to_owned()));
        };
        match helpers.upgrade().as_deref() {
            Some(Ok(helpers)) => {
                helpers.execute_template_to_string(name, data).map(|text| Value::String(text.into()))
            }
            _ => Err(TemplateError::Exec(format!("include {name:?}: the named templates could not be read"))),
        }
    })
}

fn data(chart: &Chart, values: &serde_json::Value, release: &Release) -> Result<Value> {
    let about = parse_values(chart.file("Chart.yaml").unwrap_or_default()).context("Chart.yaml")?;
    let about = |name: &str| about.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    Ok(tmap! {
        "Values" => from_json(values),
        "Release" => tmap! {
            "Name" => "weft",
            "Namespace" => release.namespace.as_str(),
            "Service" => "Helm",
            "IsInstall" => !release.upgrade,
            "IsUpgrade" => release.upgrade,
            "Revision" => 1i64,
        },
        "Chart" => tmap! {
            "Name" => about("name"),
            "Version" => about("version"),
            "AppVersion" => about("appVersion"),
        },
    })
}
