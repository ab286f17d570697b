//! Serves taps: as an aggregated API server of Kubernetes, and to one user of a dev VM.
//!
//! In a cluster the API server forwards requests and says who makes them (`front_proxy`); a SubjectAccessReview decides
//! whether they may (`review`). The server's certificate is its own, and it tells the API server so (`registration`). On
//! a dev VM a token from a file that only its owner can read stands for both.

mod access;
mod admin;
mod anchors;
mod certificate;
mod connections;
mod discovery;
mod front_proxy;
mod local;
mod query;
mod registration;
mod review;
mod role;
mod routes;

pub(crate) use self::{
    anchors::NAME as TRUST_ANCHORS, front_proxy::NAME as FRONT_PROXY, registration::API_SERVICE,
};
pub use self::{
    local::{local_router, make_token, serve_local},
    role::{Server, ServerError, run},
};
