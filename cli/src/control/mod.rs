//! Asks weft-control, as the proxies do, and describes what it answers.

mod connect;
mod describe;
mod policy;

use anyhow::anyhow;
use tonic::{Code, Status};

pub(crate) use self::{
    connect::{Control, ControlFlags},
    describe::{address, endpoint, profile},
    policy::{port, routes, server},
};

/// Why weft-control did not answer, for the user.
pub(crate) fn refused(status: &Status, about: &str) -> anyhow::Error {
    match status.code() {
        Code::Unavailable => anyhow!(
            "weft-control cannot answer now: {}; `weft check` tells what is missing",
            status.message()
        ),
        _ => anyhow!("weft-control refuses {about}: {}", status.message()),
    }
}
