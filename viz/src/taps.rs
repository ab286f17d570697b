//! How the dashboard opens a tap, wherever the proxies are asked from.

use std::fmt;

use futures::{future::BoxFuture, stream::BoxStream};
use weft_api::viz::{Failure, TapMessage, TapQuery};

/// Opens taps.
///
/// The web server holds one. In a cluster it is a client of the aggregated tap API; on a dev VM, `weft-viz local` asks
/// the proxies itself.
pub trait Taps: fmt::Debug + Send + Sync {
    /// Opens a tap for a user. Its messages begin with [`TapMessage::Started`]. After [`TapMessage::Error`] there are no more.
    /// Dropping the stream ends the tap in the proxies.
    fn open(
        &self,
        user: &str,
        query: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>>;
}

/// Where nothing can be tapped.
#[derive(Debug)]
pub(crate) struct NoTaps;

impl Taps for NoTaps {
    fn open(
        &self,
        _: &str,
        _: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>> {
        let failure = Failure::new(weft_api::viz::ErrorCode::TapDisabled, "This weft-viz has no live calls.");
        Box::pin(async { Err(failure.hint("Start `weft-viz local` with the options for taps.")) })
    }
}
