//! `/api/timeseries`: the course of a resource's figures.

use std::sync::Arc;

use weft_api::viz::{Failure, ResourceRef, ResourceType, Series};

use super::{App, Ask};
use crate::{
    figures::{Flow, MAX_SERIES_VALUES, empty_series},
    query::{Side, filters_of},
};

pub(crate) async fn timeseries(app: Arc<App>, ask: Arc<Ask>) -> Result<Series, Failure> {
    let resource = ask.resource()?;
    series(&app, &ask, resource.as_ref()).await
}

/// Of one resource, or of everything.
pub(super) async fn series(app: &App, ask: &Ask, resource: Option<&ResourceRef>) -> Result<Series, Failure> {
    let flow = match resource {
        None => Flow::inbound(Vec::new()),
        Some(service) if service.kind == ResourceType::Service => {
            Flow::outbound(filters_of(Side::Destination, service))
        }
        Some(resource) => Flow::inbound(filters_of(Side::Own, resource)),
    };
    let resolution = ask.resolution(app, MAX_SERIES_VALUES);
    let mut found = ask.figures.series(resolution, &flow, &[]).await?;
    Ok(found.remove(&Vec::new()).unwrap_or_else(|| empty_series(resolution)))
}
