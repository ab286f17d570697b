//! Matches labels against label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

/// An empty selector matches everything.
pub(super) fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.as_ref().is_none_or(|wanted| contains(wanted, labels));
    equal && selector.match_expressions.iter().flatten().all(|rule| holds(rule, labels))
}

/// Whether `labels` contains all of `wanted`.
pub(super) fn contains(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn holds(rule: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&rule.key);
    let is_in = || value.is_some_and(|value| rule.values.iter().flatten().any(|wanted| wanted == value));
    match rule.operator.as_str() {
        "In" => is_in(),
        "NotIn" => !is_in(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The manifest parser refuses other operators; from elsewhere, an unknown rule must select nothing.
        _ => false,
    }
}
