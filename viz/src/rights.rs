//! The rights at the Kubernetes API that the roles of weft-viz use: what the chart has to grant them, and no more.

use std::collections::BTreeMap;

use weft_control::kubernetes::{Right, watch_rights};

use crate::{
    cluster::{KINDS, READ},
    tap::{API_SERVICE, FRONT_PROXY, TRUST_ANCHORS},
};

/// What one role uses.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// In all namespaces, and on what is in none.
    pub cluster: Vec<Right>,
    /// In the namespace of the control plane.
    pub control_plane: Vec<Right>,
    /// In the namespace kube-system.
    pub kube_system: Vec<Right>,
}

/// What the dashboard uses. Without live calls it taps nothing.
pub fn web(live_calls: bool) -> Rights {
    let mut verbs: BTreeMap<(String, String), Vec<String>> =
        watch_rights(&KINDS).into_iter().map(|right| ((right.group, right.resource), right.verbs)).collect();
    for (group, resource) in READ {
        verbs.entry((group.to_owned(), resource.to_owned())).or_default().push("get".into());
    }
    let right = |((group, resource), verbs): ((String, String), Vec<String>)| Right {
        group,
        resource,
        names: Vec::new(),
        verbs,
    };
    let taps = live_calls.then(|| right((("tap.linkerd.io".into(), "*".into()), vec!["watch".into()])));
    Rights { cluster: verbs.into_iter().map(right).chain(taps).collect(), ..Rights::default() }
}

/// What the tap API uses.
pub fn tap() -> Rights {
    let right = |group: &str, resource: &str, name: &str, verbs: &[&str]| Right {
        group: group.into(),
        resource: resource.into(),
        names: Some(name).filter(|name| !name.is_empty()).into_iter().map(str::to_owned).collect(),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
    };
    let own = [
        right("authorization.k8s.io", "subjectaccessreviews", "", &["create"]),
        right("apiregistration.k8s.io", "apiservices", API_SERVICE, &["get", "patch"]),
    ];
    Rights {
        cluster: watch_rights(&KINDS).into_iter().chain(own).collect(),
        control_plane: vec![right("", "configmaps", TRUST_ANCHORS, &["get"])],
        kube_system: vec![right("", "configmaps", FRONT_PROXY, &["get"])],
    }
}
