//! Writes kubeconfigs that need no other file.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::authority::Pair;
use crate::layout::{API_PORT, Layout, State};

/// JSON, which is YAML too.
pub(super) fn text(layout: &Layout, state: &State, authority: &Pair, user: &Pair) -> String {
    let name = format!("weft-{}", layout.name);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": format!("https://{}:{API_PORT}", state.api()),
            "certificate-authority-data": STANDARD.encode(&authority.certificate),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": STANDARD.encode(&user.certificate),
            "client-key-data": STANDARD.encode(&user.key),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    format!("{config:#}\n")
}
