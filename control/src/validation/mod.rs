//! Decodes objects and finds values in them that can be read but make no sense.
//!
//! Manifests, the Kubernetes source and the webhook share these rules, so that all of them refuse the same objects.

mod checks;
mod complete;
mod decode;
mod finding;
mod path;
mod policies;
mod unknown;
mod validate;

pub(crate) use self::{
    complete::complete,
    decode::{object, written},
    finding::Finding,
    path::{FieldPath, Segment, field},
};
