//! Attacks from inside the cluster's network by somebody outside the mesh.
//!
//! A TLS client that runs in an unmeshed pod, with the certificates, names and pace that a scenario wants; HTTP/2 frames
//! by hand; and floods.

pub mod authority;
pub mod certify;
pub mod client;
pub mod flood;
pub mod http2;

pub use self::{
    authority::{Authority, Leaf},
    certify::certify,
    client::{Attempt, Client, Verdict},
    flood::{Flood, Flooded},
};
