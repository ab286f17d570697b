//! Connections and bytes.

use weft_api::viz::{Failure, TcpStats};

use super::{ByEnds, Figures, Flow, Span, ends_of, labels_of};
use crate::query::{Grouping, Kind, Query};

impl Figures {
    /// The figures of a flow, by its ends.
    pub(crate) async fn tcp(
        &self,
        span: Span,
        flow: &Flow,
        by: &[Grouping],
    ) -> Result<ByEnds<TcpStats>, Failure> {
        let ask = |metric, kind| {
            let query = Query::new(metric, kind)
                .filters(flow.all_filters())
                .filter(flow.direction.peer())
                .by(labels_of(by));
            async move { self.instant(&query, span.at).await }
        };
        let (open, read, written) = futures::try_join!(
            ask("tcp_open_connections", Kind::Sum),
            ask("tcp_read_bytes_total", Kind::Increase(span.seconds)),
            ask("tcp_write_bytes_total", Kind::Increase(span.seconds)),
        )?;
        let mut found = ByEnds::<TcpStats>::new();
        let seconds = span.covered;
        for sample in open.iter() {
            found.entry(ends_of(by, &sample.labels)).or_default().open_connections += sample.value;
        }
        for sample in read.iter() {
            found.entry(ends_of(by, &sample.labels)).or_default().read_bytes_per_second +=
                sample.value / seconds;
        }
        for sample in written.iter() {
            found.entry(ends_of(by, &sample.labels)).or_default().write_bytes_per_second +=
                sample.value / seconds;
        }
        Ok(found)
    }
}
