//! Looks up which resources there are, by name and by labels.

use anyhow::{Result, bail};
use weft_api::viz::{ResourceItem, ResourceRef, Selector};

use super::{
    access::Viz,
    resource::{Kind, Target},
};

/// At most so many resources are tapped, or asked about one by one, in one command.
const MOST: usize = 50;

/// The resources that a target and a selector choose, for commands that are about one resource each.
pub(super) async fn resources(
    viz: &Viz,
    namespace: &str,
    target: &Target,
    selector: Option<&Selector>,
) -> Result<Vec<ResourceRef>> {
    let named = target.name.as_ref().map(|_| target.resource(namespace)).transpose()?;
    if let (Some(resource), None) = (&named, selector) {
        return Ok(vec![resource.clone()]);
    }
    let Kind::One(kind) = target.kind else {
        bail!("name a type of resources, such as deploy, or one of them")
    };
    let selector = selector.map(ToString::to_string);
    let query: Vec<_> = selector.iter().map(|selector| ("selector", selector.as_str())).collect();
    let all = viz.get::<Vec<ResourceItem>>("/api/resources", &query).await?.data;
    let mut found: Vec<_> = all
        .into_iter()
        .map(|item| item.resource)
        .filter(|resource| match &named {
            Some(named) => resource == named,
            None => resource.kind == kind && resource.namespace == namespace,
        })
        .collect();
    found.sort();
    if found.len() > MOST {
        bail!("these are {} resources, more than {MOST}; choose fewer by name or with -l", found.len());
    }
    Ok(found)
}
