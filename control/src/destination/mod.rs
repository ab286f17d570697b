//! The destination service, which resolves destinations (`io.linkerd.proxy.destination.Destination`).

mod address;
mod authority;
mod context;
mod get;
mod profile;
mod server;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_api::linkerd::destination::{
    DestinationProfile, GetDestination, Update, destination_server::Destination,
};

use self::{address::Describer, context::Context, get::Endpoints, profile::Profile};
pub(crate) use self::{
    address::resource,
    authority::{Authority, ServiceName},
    server::DestinationServer,
};
use crate::{
    mesh::Mesh,
    model::Name,
    streams::{Stream, Streams},
};

const GET: &str = "destination.Get";
const GET_PROFILE: &str = "destination.GetProfile";

#[derive(Clone, Debug)]
pub(crate) struct Destinations {
    mesh: Arc<Mesh>,
    streams: Streams,
}

impl Destinations {
    pub(crate) fn new(mesh: Arc<Mesh>, streams: Streams) -> Self {
        Self { mesh, streams }
    }

    fn endpoints(&self, request: &GetDestination) -> Result<Endpoints, Status> {
        let (service, port) = match Authority::parse(&request.path, &self.mesh.cluster_domain)? {
            Authority::Service { service, port } => (service, port),
            Authority::Address(address) => {
                let text = format!("IP queries not supported by Get API: host={}", address.ip());
                return Err(Status::invalid_argument(text));
            }
        };
        self.refuse_external(&service.name)?;
        if self.streams.snapshot().service(&service.name).is_none() {
            let name = &service.name;
            return Err(Status::not_found(format!("Service {}.{} not found", name.name, name.namespace)));
        }
        let describer = Describer::new(self.mesh.clone(), Context::parse(&request.context_token));
        Ok(Endpoints::new(service, port, describer))
    }

    fn profile(&self, request: &GetDestination) -> Result<Profile, Status> {
        let authority = Authority::parse(&request.path, &self.mesh.cluster_domain)?;
        if let Authority::Service { service, .. } = &authority {
            self.refuse_external(&service.name)?;
        }
        let describer = Describer::new(self.mesh.clone(), Context::parse(&request.context_token));
        let profile = Profile::new(authority, describer);
        match profile.exists(&self.streams.snapshot()) {
            true => Ok(profile),
            false => Err(Status::not_found(format!("there is no pod with the name {}", request.path))),
        }
    }
}

impl Destinations {
    /// An ExternalName is no destination of the mesh: its clients connect to the outside name. Proxies consider an
    /// invalid argument final.
    fn refuse_external(&self, service: &Name) -> Result<(), Status> {
        match self.streams.snapshot().external_name(service) {
            Some(external) => Err(Status::invalid_argument(format!(
                "Service {}.{} is an ExternalName, an alias of {external:?} outside the cluster; it has no endpoints",
                service.name, service.namespace
            ))),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Destination for Destinations {
    type GetStream = Stream<Update>;
    type GetProfileStream = Stream<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Result<Response<Stream<Update>>, Status> {
        let request = request.into_inner();
        let mut endpoints = self.endpoints(&request).map_err(|status| {
            tracing::debug!(path = request.path, %status, "Get refused");
            self.streams.refuse(GET, status)
        })?;
        Ok(Response::new(
            self.streams.open(GET, endpoints.topics(), move |cluster| endpoints.update(cluster))?,
        ))
    }

    async fn get_profile(
        &self,
        request: Request<GetDestination>,
    ) -> Result<Response<Stream<DestinationProfile>>, Status> {
        let request = request.into_inner();
        let mut profile = self.profile(&request).map_err(|status| {
            tracing::debug!(path = request.path, %status, "GetProfile refused");
            self.streams.refuse(GET_PROFILE, status)
        })?;
        Ok(Response::new(
            self.streams.open(GET_PROFILE, profile.topics(), move |cluster| profile.update(cluster))?,
        ))
    }
}
