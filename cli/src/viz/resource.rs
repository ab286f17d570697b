//! Reads which resources a command is about: TYPE, TYPE/NAME, TYPE NAME.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use weft_api::viz::{ResourceRef, ResourceType};

/// A type of resources, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
}

/// The type of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One(ResourceType),
    /// All workloads, pods and services of a namespace.
    All,
}

const KNOWN: &str = "deploy, sts, ds, rs, rc, job, cj, po, svc, ns or all";
/// The types that only `weft viz stat` knows.
const POLICIES: &str = "server, serverauthorization and authorizationpolicy";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::One(kind) => short(kind),
            Kind::All => "all",
        };
        match &self.name {
            Some(name) => write!(f, "{kind}/{name}"),
            None => f.write_str(kind),
        }
    }
}

impl Target {
    /// The word for several resources of the type.
    pub(super) fn plural(&self) -> &'static str {
        match self.kind {
            Kind::One(kind) => kind.plural(),
            Kind::All => "resources",
        }
    }

    /// The targets in the arguments of a command.
    pub(super) fn parse_all(arguments: &[String]) -> Result<Vec<Self>> {
        let [first, rest @ ..] = arguments else { bail!("name a resource: {KNOWN}, as in deploy/web") };
        // TYPE NAME…, as kubectl has it.
        if !first.contains('/')
            && !rest.is_empty()
            && rest.iter().all(|word| !word.contains('/') && kind(word).is_none())
        {
            let kind = parse_kind(first)?;
            return rest.iter().map(|word| Self::named(kind, word)).collect();
        }
        arguments.iter().map(|word| Self::parse(word)).collect()
    }

    /// TYPE or TYPE/NAME.
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text.split_once('/') {
            None => Ok(Self { kind: parse_kind(text)?, name: None }),
            Some((kind, name)) => Self::named(parse_kind(kind)?, name),
        }
    }

    fn named(kind: Kind, name: &str) -> Result<Self> {
        if kind == Kind::All {
            bail!("`all` takes no name");
        }
        // Names become parts of URLs.
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if name.is_empty() || name.len() > 253 || !name.chars().all(valid) || name.chars().all(|c| c == '.') {
            bail!("{name:?} cannot be the name of a resource");
        }
        Ok(Self { kind, name: Some(name.to_owned()) })
    }

    /// The word for the type in the API.
    pub(super) fn api_type(&self) -> &'static str {
        match self.kind {
            Kind::One(kind) => kind.as_str(),
            Kind::All => "all",
        }
    }

    /// The resource, if the target is one.
    pub(super) fn resource(&self, namespace: &str) -> Result<ResourceRef> {
        match (self.kind, &self.name) {
            (Kind::One(ResourceType::Namespace), Some(name)) => Ok(ResourceRef::namespace(name.as_str())),
            (Kind::One(kind), Some(name)) => Ok(ResourceRef::new(namespace, kind, name.as_str())),
            (Kind::One(kind), None) => {
                bail!("name one resource, as in {}/NAME; `weft viz stat {0}` lists them", short(kind))
            }
            (Kind::All, _) => bail!("name one resource, as in deploy/web"),
        }
    }
}

fn parse_kind(word: &str) -> Result<Kind> {
    kind(word).ok_or_else(|| match word.to_ascii_lowercase().as_str() {
        "srv" | "server" | "servers" | "saz" | "serverauthorization" | "serverauthorizations" | "authzpolicy"
        | "authorizationpolicy" | "authorizationpolicies" => {
            anyhow!(
                "{word:?} is no resource with pods; `weft viz stat {word}` has figures of policies, and `weft viz authz` \
                 those of one resource, such as deploy/web, by its policies"
            )
        }
        "au" | "authority" | "authorities" => anyhow!(
            "{word:?} has no figures here; `weft viz stat svc` shows those of services, `weft viz routes` those of \
             authorities"
        ),
        _ => anyhow!("{word:?} is no type of resource; write {KNOWN}; `weft viz stat` also knows {POLICIES}"),
    })
}

fn kind(word: &str) -> Option<Kind> {
    let word = word.to_ascii_lowercase();
    let one = match word.as_str() {
        "all" => return Some(Kind::All),
        "cj" => ResourceType::CronJob,
        "ds" => ResourceType::DaemonSet,
        "deploy" => ResourceType::Deployment,
        "rs" => ResourceType::ReplicaSet,
        "rc" => ResourceType::ReplicationController,
        "sts" => ResourceType::StatefulSet,
        "po" => ResourceType::Pod,
        "svc" => ResourceType::Service,
        "ns" => ResourceType::Namespace,
        word => return word.parse().ok().or_else(|| ResourceType::of_plural(word)).map(Kind::One),
    };
    Some(Kind::One(one))
}

/// The short word for a type, as in `deploy/web`.
pub(super) fn short(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::CronJob => "cj",
        ResourceType::DaemonSet => "ds",
        ResourceType::Deployment => "deploy",
        ResourceType::Job => "job",
        ResourceType::ReplicaSet => "rs",
        ResourceType::ReplicationController => "rc",
        ResourceType::StatefulSet => "sts",
        ResourceType::Pod => "po",
        ResourceType::Service => "svc",
        ResourceType::Namespace => "ns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Vec<(String, Option<String>)>> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let targets = Target::parse_all(&words)?;
        Ok(targets.into_iter().map(|target| (target.api_type().to_owned(), target.name)).collect())
    }

    fn pair(kind: &str, name: Option<&str>) -> (String, Option<String>) {
        (kind.to_owned(), name.map(str::to_owned))
    }

    #[test]
    fn types_and_names_are_written_as_for_kubectl() {
        assert_eq!(parse(&["deploy"]).unwrap(), [pair("deployment", None)]);
        assert_eq!(parse(&["Deployments/web"]).unwrap(), [pair("deployment", Some("web"))]);
        assert_eq!(parse(&["po", "a", "b"]).unwrap(), [pair("pod", Some("a")), pair("pod", Some("b"))]);
        assert_eq!(
            parse(&["deploy/web", "sts"]).unwrap(),
            [pair("deployment", Some("web")), pair("statefulset", None)]
        );
        assert_eq!(parse(&["deploy", "sts"]).unwrap(), [pair("deployment", None), pair("statefulset", None)]);
        assert_eq!(parse(&["all"]).unwrap(), [pair("all", None)]);
    }

    #[test]
    fn mistakes_say_what_is_possible() {
        let error = |words: &[&str]| format!("{:#}", parse(words).unwrap_err());
        assert!(error(&["deplyo"]).contains("deploy, sts"));
        assert!(error(&["deplyo"]).contains("serverauthorization"));
        assert!(error(&["srv"]).contains("`weft viz stat srv` has figures of policies"));
        assert!(error(&["authority"]).contains("weft viz stat svc"));
        assert!(error(&["all/web"]).contains("takes no name"));
        assert!(error(&["deploy/../x"]).contains("cannot be the name"));
        assert!(error(&["deploy/.."]).contains("cannot be the name"));
        assert!(error(&[]).contains("name a resource"));
    }

    #[test]
    fn a_namespace_is_in_itself() {
        let target = Target::parse("ns/shop").unwrap();
        assert_eq!(target.resource("default").unwrap(), ResourceRef::namespace("shop"));
    }
}
