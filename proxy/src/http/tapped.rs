//! Tells taps how the requests that they show end.

use http::{HeaderMap, StatusCode};

use super::record::{self, Observer};
use crate::tap::{End, Observation};

/// A request that a tap shows.
pub(super) struct Tapped {
    observation: Observation,
    responded: bool,
}

impl Tapped {
    /// Adds it to the observers of a request, if a tap shows it.
    pub(super) fn observe(observation: Option<Observation>, request: &mut record::Request) {
        if let Some(observation) = observation {
            request.observers.push(Box::new(Self { observation, responded: false }));
        }
    }
}

impl Observer for Tapped {
    fn responded(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.responded = true;
        self.observation.responded(status, headers);
    }

    fn ended(&mut self, end: &record::End) {
        // A response that has begun has told its status; one that the proxy makes itself has not.
        let status = end.status.filter(|_| !self.responded && end.reset.is_none());
        self.observation.ended(&End {
            status,
            response_bytes: end.response_bytes,
            grpc_status: end.class.grpc_status.map(u32::from),
            reset: end.reset,
        });
    }

    fn repeated(&mut self) {
        // Certainly not processed: that is what this code says.
        let reset = Some(h2::Reason::REFUSED_STREAM.into());
        self.observation.ended(&End { status: None, response_bytes: 0, grpc_status: None, reset });
    }
}
