//! Chooses resources by their labels, and looks up which resources there are.

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use weft_api::viz::{ResourceDefinition, ResourceItem, ResourceRef};

use super::{
    access::Viz,
    resource::{Kind, Target},
};

/// A label selector as kubectl has it: `app=web,tier!=db,team`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    label: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Equal(String),
    NotEqual(String),
    Exists,
    Absent,
}

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut conditions = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (label, wanted) = if let Some((label, value)) = part.split_once("!=") {
                (label, Wanted::NotEqual(value.trim().to_owned()))
            } else if let Some((label, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (label, Wanted::Equal(value.trim().to_owned()))
            } else if let Some(label) = part.strip_prefix('!') {
                (label, Wanted::Absent)
            } else {
                (part, Wanted::Exists)
            };
            let label = label.trim();
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/');
            if label.is_empty() || !label.chars().all(valid) {
                return Err(format!(
                    "{part:?} is no condition; write LABEL=VALUE, LABEL!=VALUE, LABEL or !LABEL"
                ));
            }
            conditions.push(Condition { label: label.to_owned(), wanted });
        }
        if conditions.is_empty() {
            return Err("write a label selector such as app=web".to_owned());
        }
        Ok(Self(conditions))
    }
}

impl Selector {
    fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|condition| {
            let value = labels.get(&condition.label).and_then(Value::as_str);
            match &condition.wanted {
                Wanted::Equal(wanted) => value == Some(wanted),
                Wanted::NotEqual(unwanted) => value != Some(unwanted),
                Wanted::Exists => value.is_some(),
                Wanted::Absent => value.is_none(),
            }
        })
    }

    /// Whether this resource has such labels. One that is gone has none.
    pub(super) async fn chooses(&self, viz: &Viz, resource: &ResourceRef) -> Result<bool> {
        let query = [
            ("namespace", resource.namespace.as_str()),
            ("type", resource.kind.as_str()),
            ("name", resource.name.as_str()),
        ];
        let answer = viz.get::<ResourceDefinition>("/api/resource-definition", &query).await;
        let definition = match answer {
            Ok(answer) => answer.data.yaml,
            Err(error) if super::notes::is_not_found(&error) => return Ok(false),
            Err(error) => return Err(error.context(format!("cannot read the labels of {resource}"))),
        };
        let object: Value =
            serde_yaml_ng::from_str(&definition).with_context(|| format!("the definition of {resource}"))?;
        Ok(self.matches(&object["metadata"]["labels"]))
    }
}

/// At most so many resources are tapped, or asked about one by one, in one command.
const MOST: usize = 50;

/// The resources that a target and a selector choose, for commands that are about one resource each.
pub(super) async fn resources(
    viz: &Viz,
    namespace: &str,
    target: &Target,
    selector: Option<&Selector>,
) -> Result<Vec<ResourceRef>> {
    if target.name.is_some() {
        let resource = target.resource(namespace)?;
        let chosen = match selector {
            Some(selector) => selector.chooses(viz, &resource).await?,
            None => true,
        };
        return Ok(if chosen { vec![resource] } else { Vec::new() });
    }
    let Kind::One(kind) = target.kind else {
        bail!("name a type of resources, such as deploy, or one of them")
    };
    let all = viz.get::<Vec<ResourceItem>>("/api/resources", &[]).await?.data;
    let mut found: Vec<_> = all
        .into_iter()
        .map(|item| item.resource)
        .filter(|resource| resource.kind == kind && resource.namespace == namespace)
        .collect();
    found.sort();
    if let Some(selector) = selector {
        let chosen = stream::iter(found).map(|resource| async {
            Ok::<_, anyhow::Error>(selector.chooses(viz, &resource).await?.then_some(resource))
        });
        let chosen: Vec<_> = chosen.buffered(8).try_collect().await?;
        found = chosen.into_iter().flatten().collect();
    }
    if found.len() > MOST {
        bail!("these are {} resources, more than {MOST}; choose fewer by name or with -l", found.len());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_those_of_kubectl() {
        let labels = json!({ "app": "web", "tier": "front" });
        for (text, matches) in [
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("team!=a", true),
            ("!team", true),
            ("team", false),
            ("app=web,tier=db", false),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().matches(&labels), matches, "{text}");
        }
        assert!(!"app".parse::<Selector>().unwrap().matches(&Value::Null));
        assert!("a b=c".parse::<Selector>().is_err());
        assert!(",".parse::<Selector>().is_err());
    }
}
