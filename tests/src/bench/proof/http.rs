//! What the proxies must have counted for HTTP requests.

use anyhow::{Result, ensure};

use crate::{
    bench::{
        testbed::DIRECT,
        variant::{Place, Route},
    },
    metrics::Metrics,
};

const REQUESTS: &str = "request_total";
const CONNECTIONS: &str = "tcp_open_total";

/// Compares what both nodes' proxies counted since `before` with so many requests on so many connections. If the
/// proxies understand HTTP, each request was counted where it left and where it arrived. Otherwise they carried its
/// connection as bytes. What bypasses them is not counted at all.
pub(super) fn expect(
    route: Route,
    connections: usize,
    requests: u64,
    before: &[Metrics; 2],
    now: &[Metrics; 2],
) -> Result<()> {
    let [near, far] = [now[0].since(&before[0]), now[1].since(&before[1])];
    let (tls, server) = match route {
        Route::Weft(Place::Far) => ("true", &far),
        Route::Weft(Place::Near) => ("local", &near),
        _ => {
            for (what, name) in [("connections", CONNECTIONS), ("requests", REQUESTS)] {
                let counted = near.value(name, &[]) + far.value(name, &[]);
                ensure!(counted == 0.0, "weft counts {counted} of its {what}");
            }
            return Ok(());
        }
    };
    let directly = near.value("weft_capture_total", &DIRECT);
    ensure!(directly == 0.0, "{directly} connections went directly and not through the proxy");
    if now[0].label_values(REQUESTS, &[], "direction").is_empty() {
        let opened = near.value(CONNECTIONS, &[("direction", "outbound"), ("peer", "dst"), ("tls", tls)]);
        ensure!(opened == connections as f64, "of {connections} connections, weft counts {opened}");
        return Ok(());
    }
    for (what, counted) in [
        ("left", near.value(REQUESTS, &[("direction", "outbound"), ("tls", tls)])),
        ("arrived", server.value(REQUESTS, &[("direction", "inbound")])),
    ] {
        ensure!(counted == requests as f64, "of {requests} requests, weft counts that {counted} {what}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::variant::Peer;

    const FAR: Route = Route::Weft(Place::Far);

    /// Two connections and seven requests, before which nothing was counted.
    fn check(route: Route, near: &str, far: &str) -> Result<()> {
        let now = [near, far].map(|text| Metrics::parse(text).expect("metrics"));
        expect(route, 2, 7, &<[Metrics; 2]>::default(), &now)
    }

    fn connections(tls: &str, count: u32) -> String {
        format!("tcp_open_total{{direction=\"outbound\",peer=\"dst\",tls=\"{tls}\"}} {count}\n")
    }

    fn requests(direction: &str, tls: &str, count: u32) -> String {
        format!("request_total{{direction=\"{direction}\",tls=\"{tls}\"}} {count}\n")
    }

    #[test]
    fn without_http_the_connections_count() {
        assert!(check(FAR, &connections("true", 2), "").is_ok());
        assert!(check(FAR, &connections("true", 1), "").is_err());
        assert!(check(FAR, &connections("local", 2), "").is_err());
        assert!(check(Route::Weft(Place::Near), &connections("local", 2), "").is_ok());
        let directly = "weft_capture_total{hook=\"connect\",outcome=\"direct\"} 1\n";
        assert!(check(Route::Weft(Place::Near), &(connections("local", 2) + directly), "").is_err());
    }

    #[test]
    fn with_http_every_request_counts_on_both_sides() {
        let (left, arrived) = (requests("outbound", "true", 7), requests("inbound", "true", 7));
        assert!(check(FAR, &left, &arrived).is_ok());
        assert!(check(FAR, &left, "").is_err());
        assert!(check(FAR, &left, &requests("inbound", "true", 6)).is_err());
        assert!(check(FAR, &(requests("outbound", "true", 6) + &connections("true", 2)), &arrived).is_err());
        assert!(check(FAR, &requests("outbound", "no_identity", 7), &arrived).is_err());
        let both = requests("outbound", "local", 7) + &requests("inbound", "local", 7);
        assert!(check(Route::Weft(Place::Near), &both, "").is_ok());
    }

    #[test]
    fn what_bypasses_weft_is_not_counted() {
        for route in [Route::Direct(Place::Far), Route::Pair(Peer::Nginx)] {
            assert!(check(route, "", "").is_ok());
            assert!(check(route, &connections("true", 1), "").is_err());
            assert!(check(route, "", &requests("inbound", "true", 1)).is_err());
        }
    }
}
