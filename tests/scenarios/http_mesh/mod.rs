//! What weft adds to HTTP: policy for each request, golden metrics, balancing, pools, detection, limits.
//!
//! [`ways`] has the usual cluster; [`load`] the clients that keep sending while a scenario changes the cluster.

mod access_log;
mod app_protocol;
mod balance;
mod detection;
mod errors;
mod golden;
mod lifecycle;
mod load;
mod opaque;
mod policy;
mod pool;
mod replay;
mod series;
mod shares;
mod sidecar;
mod silence;
mod stalled;
mod unsent;
pub(crate) mod ways;
mod zones;

pub(crate) use self::ways::{ask, ok, until_status};
use weft_tests::suite::Area;

pub(crate) fn areas() -> [Area; 17] {
    [
        access_log::area(),
        policy::area(),
        golden::area(),
        series::area(),
        balance::area(),
        zones::area(),
        pool::area(),
        replay::area(),
        sidecar::area(),
        lifecycle::area(),
        errors::area(),
        detection::area(),
        app_protocol::area(),
        shares::area(),
        silence::area(),
        stalled::area(),
        unsent::area(),
    ]
}
