//! What the commands read of a workload's manifest.

use super::tree::Node;
use crate::kubernetes::INJECT;

/// An object whose pods can be in the mesh.
pub(super) struct Workload<'a> {
    /// The kind in lower case, as kubectl has it; empty if the document has none.
    pub(super) kind: String,
    pub(super) name: String,
    object: &'a Node,
    /// Where the pod's metadata and specification are. `None`: the kind has no pods, or weft does not look at it.
    template: Option<&'static [&'static str]>,
}

pub(super) const OWN: &[&str] = &["metadata", "annotations"];

impl<'a> Workload<'a> {
    pub(super) fn new(object: &'a Node) -> Self {
        let kind = object.string(&["kind"]).unwrap_or_default().to_ascii_lowercase();
        let template: Option<&[&str]> = match kind.as_str() {
            "deployment" | "statefulset" | "daemonset" | "replicaset" | "job" => Some(&["spec", "template"]),
            "cronjob" => Some(&["spec", "jobTemplate", "spec", "template"]),
            "pod" => Some(&[]),
            _ => None,
        };
        let name =
            object.string(&["metadata", "name"]).or_else(|| object.string(&["metadata", "generateName"]));
        Self { kind, name: name.unwrap_or_default().to_owned(), object, template }
    }

    /// Whether an annotation can put it into the mesh.
    pub(super) fn is_supported(&self) -> bool {
        self.template.is_some() || self.kind == "namespace"
    }

    /// Where the annotations of its pods are. A namespace and a pod have only their own.
    pub(super) fn template_annotations(&self) -> Option<&'static [&'static str]> {
        match self.kind.as_str() {
            "deployment" | "statefulset" | "daemonset" | "replicaset" | "job" => {
                Some(&["spec", "template", "metadata", "annotations"])
            }
            "cronjob" => Some(&["spec", "jobTemplate", "spec", "template", "metadata", "annotations"]),
            _ => None,
        }
    }

    /// An annotation of the object itself.
    pub(super) fn own(&self, key: &str) -> Option<&str> {
        annotation(self.object, OWN, key)
    }

    /// An annotation of its pods.
    pub(super) fn of_pods(&self, key: &str) -> Option<&str> {
        annotation(self.object, self.template_annotations()?, key)
    }

    /// The names of the annotations at a place that begin with `linkerd.io/`, but for one that says "not in the mesh".
    pub(super) fn mesh_annotations(&self, path: &[&str]) -> Vec<String> {
        let annotations = path.iter().try_fold(self.object, |node, key| node.get(key));
        let Some(super::tree::Kind::Mapping { entries, .. }) = annotations.map(|node| &node.kind) else {
            return Vec::new();
        };
        let ours = entries.iter().filter_map(|(key, value)| {
            let key = key.text()?;
            let stays = key == INJECT && value.text() == Some("disabled");
            (key.starts_with("linkerd.io/") && !stays).then(|| key.to_owned())
        });
        ours.collect()
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.own(INJECT) == Some("disabled") || self.of_pods(INJECT) == Some("disabled")
    }

    pub(super) fn uses_host_network(&self) -> bool {
        self.pod().and_then(|pod| pod.string(&["spec", "hostNetwork"])) == Some("true")
    }

    /// It has the sidecar of another mesh.
    pub(super) fn has_sidecar(&self) -> bool {
        const SIDECARS: &[&str] = &["linkerd-proxy", "linkerd-init", "istio-proxy", "istio-init"];
        ["containers", "initContainers"].iter().any(|list| {
            let containers = self.pod().and_then(|pod| pod.get("spec")).and_then(|spec| spec.get(list));
            containers
                .into_iter()
                .flat_map(Node::items)
                .any(|container| container.string(&["name"]).is_some_and(|name| SIDECARS.contains(&name)))
        })
    }

    pub(super) fn has_udp_ports(&self) -> bool {
        let containers = self.pod().and_then(|pod| pod.get("spec")).and_then(|spec| spec.get("containers"));
        let mut ports = containers
            .into_iter()
            .flat_map(Node::items)
            .flat_map(|container| container.get("ports").into_iter().flat_map(Node::items));
        ports.any(|port| port.string(&["protocol"]) == Some("UDP"))
    }

    fn pod(&self) -> Option<&Node> {
        self.template?.iter().try_fold(self.object, |node, key| node.get(key))
    }
}

fn annotation<'a>(object: &'a Node, path: &[&str], key: &str) -> Option<&'a str> {
    path.iter().try_fold(object, |node, key| node.get(key))?.get(key)?.text()
}
