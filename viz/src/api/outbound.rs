//! `/api/outbound`: what a resource sent, by the service that was asked and by who answered.

use std::sync::Arc;

use weft_api::viz::{Failure, OutboundRow, ResourceType};

use super::{App, Ask};
use crate::{
    figures::Flow,
    query::{Level, Side},
};

pub(crate) async fn outbound(_: Arc<App>, ask: Arc<Ask>) -> Result<Vec<OutboundRow>, Failure> {
    let resource = ask.needed_resource()?;
    if resource.kind == ResourceType::Service {
        // A service sends nothing.
        return ask.explain_none(Vec::new());
    }
    let flow = Flow::outbound(ask.own_filters(&resource));
    let by = [Level::Service, Level::Workload].map(|level| ask.grouping(Side::Destination, level));
    let (http, mut tcp) = futures::try_join!(
        ask.figures.http(ask.span(), &flow, &by),
        ask.figures.tcp(ask.span(), &flow, &by),
    )?;
    let mut rows: Vec<_> = http
        .into_iter()
        .map(|(ends, http)| {
            let tcp = tcp.remove(&ends).unwrap_or_default();
            let mut ends = ends.into_iter();
            let (service, backend) = (ends.next().flatten(), ends.next().flatten());
            OutboundRow { service, backend, http, tcp }
        })
        .collect();
    rows.sort_by(|a, b| (&a.service, &a.backend).cmp(&(&b.service, &b.backend)));
    ask.explain_none(rows)
}
