//! Remembers requests until they end, because responses say only which request they belong to.

use std::collections::{HashMap, VecDeque};

use weft_api::viz::{TapEnd, TapEvent, TapEventKind, Tls};

/// Requests that never end are forgotten when so many came after them.
const MOST: usize = 10_000;

/// What a response needs to know of its request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) source: TapEnd,
    pub(crate) destination: TapEnd,
    pub(crate) tls: Tls,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) route: Option<String>,
    /// Of the response, once it came.
    pub(crate) status: Option<u16>,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    by_id: HashMap<String, Request>,
    /// Ids in the order in which they came. Those of ended requests are still in it.
    order: VecDeque<String>,
}

impl Requests {
    /// The request that an event belongs to, if it was seen. It is forgotten after its end.
    pub(crate) fn of(&mut self, event: &TapEvent) -> Option<Request> {
        match &event.event {
            TapEventKind::Request { source, destination, tls, method, path, route, .. } => {
                let request = Request {
                    source: source.clone(),
                    destination: destination.clone(),
                    tls: *tls,
                    method: method.clone(),
                    path: path.clone(),
                    route: route.clone(),
                    status: None,
                };
                self.remember(event.id.clone(), request.clone());
                Some(request)
            }
            TapEventKind::Response { status, .. } => {
                let request = self.by_id.get_mut(&event.id)?;
                request.status = Some(*status);
                Some(request.clone())
            }
            TapEventKind::End { .. } => self.by_id.remove(&event.id),
        }
    }

    fn remember(&mut self, id: String, request: Request) {
        self.order.push_back(id.clone());
        self.by_id.insert(id, request);
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}
