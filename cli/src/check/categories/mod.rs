//! All checks, by category, in the order in which they run.

mod api;
mod authority;
mod config;
mod data_plane;
mod existence;
mod extensions;
mod ha;
mod identity;
mod networks;
mod nodes;
mod opaque;
mod plaintext;
mod pods;
mod pre;
mod rotation;
mod version;
mod viz;
mod viz_data_plane;
mod webhook;
mod webhook_tls;

use super::{CheckArgs, model::Category};

/// The categories that the options select.
pub(super) fn selected(args: &CheckArgs, in_namespace: bool) -> Vec<Category> {
    let mut all = vec![api::category(), api::version_category()];
    if args.pre {
        all.extend([nodes::pre_category(), pre::category()]);
    } else if args.crds {
        all.push(config::crd_category());
    } else {
        all.extend([
            existence::category(),
            config::category(),
            identity::category(),
            webhook::category(),
            nodes::category(),
            version::category(),
        ]);
        if args.proxy {
            all.extend([
                data_plane::category(in_namespace),
                identity::data_plane_category(),
                opaque::category(),
            ]);
        } else {
            all.push(ha::category());
        }
        all.push(extensions::category());
    }
    all
}

/// The categories of weft-viz, which follow if it is installed.
pub(super) fn of_extensions(args: &CheckArgs, in_namespace: bool) -> Vec<Category> {
    if args.pre || args.crds {
        return Vec::new();
    }
    let mut all = vec![viz::category()];
    if args.proxy {
        all.push(viz_data_plane::category(in_namespace, false));
    }
    all
}

/// What `weft viz check` looks at.
pub(super) fn of_viz(on_vm: bool, proxy: bool, in_namespace: bool) -> Vec<Category> {
    let mut all = if on_vm { vec![viz::vm_category()] } else { vec![api::category(), viz::category()] };
    if proxy {
        all.push(viz_data_plane::category(in_namespace, on_vm));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn every() -> Vec<Category> {
        vec![
            api::category(),
            api::version_category(),
            nodes::pre_category(),
            pre::category(),
            config::crd_category(),
            existence::category(),
            config::category(),
            identity::category(),
            webhook::category(),
            nodes::category(),
            version::category(),
            data_plane::category(true),
            identity::data_plane_category(),
            opaque::category(),
            ha::category(),
            extensions::category(),
            viz::category(),
            viz_data_plane::category(true, false),
        ]
    }

    #[test]
    fn every_hint_leads_to_a_heading_of_the_documentation_and_back() {
        let page = include_str!("../../../../docs/check.md");
        let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let anchors: BTreeSet<&str> =
            every().iter().flat_map(|category| category.checks.iter().map(|check| check.anchor)).collect();
        assert_eq!(headings, anchors);
    }

    #[test]
    fn every_description_is_in_the_documentation() {
        let page = include_str!("../../../../docs/check.md");
        for check in every().iter().flat_map(|category| &category.checks) {
            assert!(page.contains(check.description), "docs/check.md has no {:?}", check.description);
        }
    }
}
