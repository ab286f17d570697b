//! `/api/resources`: every workload, pod and service.

use std::sync::Arc;

use weft_api::viz::{Failure, ResourceItem, ResourceRef, ResourceType};

use super::{App, Ask};

pub(crate) async fn resources(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<ResourceItem>, Failure> {
    let view = &ask.view;
    let selector = ask.selector()?;
    let workloads = view.workloads.iter().filter(|(resource, _)| resource.kind != ResourceType::Pod).map(
        |(resource, pods)| ResourceItem {
            resource: resource.clone(),
            meshed: pods.iter().any(|pod| pod.meshed),
        },
    );
    let pods = view.pods.values().map(|pod| ResourceItem {
        resource: ResourceRef::new(&pod.namespace, ResourceType::Pod, &pod.name),
        meshed: pod.meshed,
    });
    let services = view.services.iter().map(|((namespace, name), service)| ResourceItem {
        resource: ResourceRef::new(namespace, ResourceType::Service, name),
        meshed: service.pods.iter().any(|pod| pod.meshed),
    });
    let all = workloads.chain(pods).chain(services);
    Ok(all.filter(|item| selector.matches(&view.labels_of(&item.resource))).collect())
}
