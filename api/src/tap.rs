//! The metadata by which weft's tap service and node proxies add to Linkerd's Tap API: one proxy serves many pods.

/// The pods of the node whose requests are wanted, `NAMESPACE/NAME` with commas between them. Required.
pub const WORKLOADS: &str = "weft-workloads";
/// [`INBOUND`] or [`OUTBOUND`]; without it both are wanted.
pub const DIRECTION: &str = "weft-direction";
/// Requests per second, in place of the request's `limit`, which is a number of requests after which the stream ends.
pub const MAX_RPS: &str = "weft-max-rps";
/// Names of headers that are never sent, with commas between them.
pub const IGNORE_HEADERS: &str = "weft-ignore-headers";
/// The id of an earlier tap, which takes no more requests from the moment on at which this one begins.
pub const REPLACES: &str = "weft-replaces";
/// In the answer: the id of the tap.
pub const TAP_ID: &str = "weft-tap-id";

/// The requests that a pod receives.
pub const INBOUND: &str = "inbound";
/// The requests that a pod sends.
pub const OUTBOUND: &str = "outbound";

/// The label of `route_meta` in an event without `http`: how many events were kept back since the last such event.
pub const DROPPED: &str = "weft.dev/dropped-events";

/// The highest [`MAX_RPS`].
pub const HIGHEST_RPS: u32 = 100;
/// The longest list of pods, in bytes.
pub const MAX_WORKLOADS_BYTES: usize = 60 << 10;
