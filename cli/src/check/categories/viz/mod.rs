//! Whether weft-viz is installed and works.

mod objects;
mod service;

use crate::check::model::{Category, Check};

pub(super) fn category() -> Category {
    Category {
        name: "weft-viz",
        checks: vec![
            Check::fatal("weft-viz Namespace exists", "weft-viz-ns-exists", |c| {
                Box::pin(objects::namespace(c))
            })
            .patient(),
            Check::fatal("weft-viz ClusterRoles exist", "weft-viz-cr-exists", |c| {
                Box::pin(objects::roles(c))
            })
            .patient(),
            Check::fatal("weft-viz ClusterRoleBindings exist", "weft-viz-crb-exists", |c| {
                Box::pin(objects::bindings(c))
            })
            .patient(),
            Check::error("viz extension pods are running", "weft-viz-pods-running", |c| {
                Box::pin(objects::pods(c))
            })
            .patient(),
            Check::warning("viz extension pods are in the mesh", "weft-viz-pods-meshed", |c| {
                Box::pin(objects::meshed(c))
            })
            .patient(),
            Check::warning("viz extension and cli versions match", "weft-viz-cli-version", |c| {
                Box::pin(objects::versions(c))
            }),
            Check::error("tap API server has valid cert", "weft-tap-cert-valid", |c| {
                Box::pin(objects::tap_certificate(c))
            })
            .patient(),
            Check::error("tap API service is running", "weft-tap-api", |c| Box::pin(objects::tap_api(c)))
                .patient(),
            Check::warning("prometheus is installed and configured correctly", "weft-viz-prometheus", |c| {
                Box::pin(objects::prometheus(c))
            }),
            client(),
            self_check(),
            scraped(),
        ],
    }
}

/// On a dev VM there are no objects of Kubernetes.
pub(super) fn vm_category() -> Category {
    Category { name: "weft-viz", checks: vec![client(), self_check(), scraped()] }
}

fn client() -> Check {
    Check::fatal("can initialize the viz client", "weft-viz-existence-client", |c| {
        Box::pin(service::client(c))
    })
    .patient()
}

fn self_check() -> Check {
    Check::error("viz extension self-check", "weft-viz-metrics-api", |c| Box::pin(service::self_check(c)))
        .patient()
}

fn scraped() -> Check {
    Check::warning("node proxies are scraped", "weft-viz-scraped", |c| Box::pin(service::scraped(c)))
        .patient()
}
