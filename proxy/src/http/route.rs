//! Where requests to an address go. HTTP routes, retries and timeouts will have their place here.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use crate::{
    discovery::Destination,
    metrics::{Application, Metrics, Parent, RouteLabels, RouteSeries},
    net::Direction,
    workload::Workload,
};

/// The default route: every request goes to the destination that was dialled.
pub(super) struct Route {
    pub(super) destination: Arc<Destination>,
    /// The port that was dialled.
    port: u16,
    series: [OnceLock<Arc<RouteSeries>>; 2],
}

impl Route {
    pub(super) fn new(destination: Arc<Destination>, port: u16) -> Self {
        Self { destination, port, series: Default::default() }
    }

    pub(super) fn is_of(&self, destination: &Arc<Destination>) -> bool {
        Arc::ptr_eq(&self.destination, destination)
    }

    /// Whether the service has endpoints that are not among those that were `tried`.
    pub(super) fn has_others(&self, tried: &[SocketAddr]) -> bool {
        match &*self.destination {
            Destination::Service { endpoints, .. } => tried.len() < endpoints.same_family.len(),
            Destination::Endpoint(_) | Destination::External => false,
        }
    }

    /// An endpoint has answered.
    pub(super) fn answered(&self) {
        if let Destination::Service { endpoints, .. } = &*self.destination {
            endpoints.same_family.set_failing_fast(false);
        }
    }

    /// The counters of the route, for requests of one workload.
    pub(super) fn series(&self, metrics: &Metrics, workload: &Workload, grpc: bool) -> Arc<RouteSeries> {
        let series = self.series[usize::from(grpc)].get_or_init(|| {
            metrics.route(&RouteLabels {
                direction: Direction::Outbound,
                workload: workload.labels.clone(),
                parent: Arc::new(self.parent()),
                application: if grpc { Application::Grpc } else { Application::Http },
                probe: false,
            })
        });
        series.clone()
    }

    /// The service; a pod that was dialled by its own address has Linkerd's default parent.
    fn parent(&self) -> Parent {
        let service = match &*self.destination {
            Destination::Service { authority, .. } => service(authority),
            Destination::Endpoint(_) | Destination::External => None,
        };
        service.unwrap_or_else(|| Parent {
            group: String::new(),
            kind: "default".to_owned(),
            namespace: String::new(),
            name: "endpoint".to_owned(),
            port: self.port,
        })
    }
}

/// The service of `NAME.NAMESPACE.svc.DOMAIN:PORT`.
pub(super) fn service(authority: &str) -> Option<Parent> {
    let (host, port) = authority.rsplit_once(':')?;
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    Some(Parent {
        group: "core".to_owned(),
        kind: "Service".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_from_its_authority() {
        let parent = service("voting-svc.emojivoto.svc.cluster.local:8080").unwrap();
        assert_eq!(
            (parent.name.as_str(), parent.namespace.as_str(), parent.port),
            ("voting-svc", "emojivoto", 8080)
        );
        assert_eq!(service("nonsense"), None);
    }
}
