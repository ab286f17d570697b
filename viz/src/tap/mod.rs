//! Live calls: taps the proxies of the nodes and merges what they show.
//!
//! [`FanOut`] opens a tap: it selects the pods, opens a stream to the proxy of each of their nodes (`node`) by mTLS with
//! a certificate of the mesh (`credentials`), divides the rate among them (`shares`), and merges the events. [`SharedTaps`] lets readers of the same share a tap. `server`
//! offers the same as an aggregated API server, and to one user of a dev VM.

mod args;
mod credentials;
mod fanout;
mod names;
mod node;
mod proxies;
mod request;
mod select;
mod server;
mod shared;
mod shares;
mod translate;

pub(crate) use self::server::{API_SERVICE, FRONT_PROXY, TRUST_ANCHORS};
pub use self::{
    args::{SECRET_HEADERS, TapArgs, TapRole},
    credentials::{Credentials, CredentialsConfig},
    fanout::{FanOut, FanOutConfig},
    proxies::Proxies,
    server::{Server, ServerError, local_router, make_token, run, serve_local},
    shared::{SharedTaps, Usage},
};

/// Taps that may be open at the same time.
const MAX_TAPS: usize = 32;
