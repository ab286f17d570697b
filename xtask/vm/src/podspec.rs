//! Reads commands, arguments and variables from a pod's manifest.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container as Spec, EnvVar, Pod as Manifest, PodSpec};

use crate::error::{Error, Result};
use crate::layout::PodKey;
use crate::overlay::PodFacts;
use crate::process::{Container, RestartPolicy};

/// The containers that have a command, ready to be run.
pub(crate) fn containers(
    key: &PodKey,
    manifest: &Manifest,
    facts: &PodFacts,
    hostname: &str,
) -> Result<Vec<Container>> {
    let Some(spec) = &manifest.spec else { return Ok(Vec::new()) };
    let run = |container: &&Spec| container.command.as_ref().is_some_and(|command| !command.is_empty());
    spec.containers
        .iter()
        .filter(run)
        .map(|container| one(key, manifest, spec, container, facts, hostname))
        .collect()
}

/// What this cluster does differently from Kubernetes, as far as the manifest uses it.
pub(crate) fn remarks(key: &PodKey, manifest: &Manifest) -> Vec<String> {
    let mut remarks = Vec::new();
    let Some(spec) = &manifest.spec else { return remarks };
    let uses = |given: fn(&Spec) -> bool| spec.containers.iter().any(given);
    if uses(|c| c.image.is_some() && c.command.is_some()) {
        remarks.push(
            "images are not pulled; containers run their command from this machine's file system".to_owned(),
        );
    }
    if uses(|c| c.command.is_none() && c.args.is_some()) {
        remarks.push(format!(
            "{key}: a container has args but no command; it is not run, because images are not pulled"
        ));
    }
    if spec.init_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        remarks.push(format!("{key}: initContainers are not supported and not run"));
    }
    if spec.volumes.as_ref().is_some_and(|list| !list.is_empty()) {
        remarks.push(format!("{key}: volumes are not supported and not mounted"));
    }
    if uses(|c| c.readiness_probe.is_some() || c.liveness_probe.is_some() || c.startup_probe.is_some()) {
        remarks.push(format!("{key}: probes are not supported; a running pod counts as ready"));
    }
    remarks
}

/// When containers are started again.
pub(crate) fn restart_policy(manifest: &Manifest) -> RestartPolicy {
    match manifest.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

fn one(
    key: &PodKey,
    manifest: &Manifest,
    spec: &PodSpec,
    container: &Spec,
    facts: &PodFacts,
    hostname: &str,
) -> Result<Container> {
    let mut known = BTreeMap::new();
    let mut env = vec![("HOSTNAME".to_owned(), hostname.to_owned())];
    for variable in container.env.iter().flatten() {
        let value = value(key, manifest, spec, variable, facts)?;
        let value = expand(&value, &known);
        known.insert(variable.name.clone(), value.clone());
        env.push((variable.name.clone(), value));
    }
    let words = container.command.iter().flatten().chain(container.args.iter().flatten());
    let command = words.map(|word| expand(word, &known)).collect();
    let (pod, own) = (spec.security_context.as_ref(), container.security_context.as_ref());
    let user = own.and_then(|c| c.run_as_user).or(pod.and_then(|p| p.run_as_user));
    let group = own.and_then(|c| c.run_as_group).or(pod.and_then(|p| p.run_as_group));
    let id = |number: i64| {
        u32::try_from(number).map_err(|_| invalid(key, format!("{number} is not a user or group id")))
    };
    let user = match (user, group) {
        (None, None) => None,
        (user, group) => Some((id(user.unwrap_or(0))?, id(group.unwrap_or(0))?)),
    };
    Ok(Container {
        name: container.name.clone(),
        command,
        env,
        directory: container.working_dir.clone(),
        user,
    })
}

fn value(
    key: &PodKey,
    manifest: &Manifest,
    spec: &PodSpec,
    variable: &EnvVar,
    facts: &PodFacts,
) -> Result<String> {
    let Some(from) = &variable.value_from else { return Ok(variable.value.clone().unwrap_or_default()) };
    let Some(field) = &from.field_ref else {
        return Err(invalid(key, format!("env {}: only value and fieldRef are supported", variable.name)));
    };
    let ips = || facts.ips.iter().map(ToString::to_string);
    Ok(match field.field_path.as_str() {
        "metadata.name" => key.name.clone(),
        "metadata.namespace" => key.namespace.clone(),
        "metadata.uid" => facts.uid.clone(),
        "spec.nodeName" => facts.node.clone(),
        "spec.serviceAccountName" => {
            spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned())
        }
        "status.podIP" => ips().next().unwrap_or_default(),
        "status.podIPs" => ips().collect::<Vec<_>>().join(","),
        "status.hostIP" => facts.node_ip.to_string(),
        path => {
            let label = path.strip_prefix("metadata.labels['").and_then(|rest| rest.strip_suffix("']"));
            let Some(label) = label else {
                return Err(invalid(
                    key,
                    format!("env {}: fieldPath {path} is not supported", variable.name),
                ));
            };
            manifest
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(label))
                .cloned()
                .unwrap_or_default()
        }
    })
}

/// Replaces `$(NAME)` by the variable's value as Kubernetes does: unknown names stay, `$$` is a dollar sign.
fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match (rest.strip_prefix('$'), name) {
            (Some(after), _) => {
                out.push('$');
                rest = after;
            }
            (None, Some((name, after))) if known.contains_key(name) => {
                out.push_str(&known[name]);
                rest = after;
            }
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

fn invalid(key: &PodKey, reason: String) -> Error {
    Error::Pod { pod: key.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_kubernetes() {
        let known = BTreeMap::from([("NAME".to_owned(), "web".to_owned())]);
        assert_eq!(expand("--name=$(NAME)!", &known), "--name=web!");
        assert_eq!(expand("$(OTHER) $NAME $$(NAME) 5$", &known), "$(OTHER) $NAME $(NAME) 5$");
    }
}
