//! Parses the settings of the programs; each error says how to mend it.

use std::time::Duration;

/// Slower than any caller's patience.
const MAX_DELAY_MILLIS: u64 = 60_000;
const MAX_RATE: f64 = 1000.0;

/// A host as in `emoji-svc.emojivoto:8080`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let authority: Result<hyper::http::uri::Authority, _> = text.parse();
    match authority {
        Ok(authority) if authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@') => {
            Ok(text.to_owned())
        }
        _ => Err("write HOST:PORT without a scheme, such as emoji-svc.emojivoto:8080".to_owned()),
    }
}

/// A probability.
pub(crate) fn failure_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("write a number from 0 (never fails) to 1 (always fails), such as 0.5".to_owned()),
    }
}

/// Milliseconds.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(millis) if millis <= MAX_DELAY_MILLIS => Ok(Duration::from_millis(millis)),
        _ => Err(format!("write whole milliseconds from 0 to {MAX_DELAY_MILLIS}, such as 250")),
    }
}

/// Votes per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=MAX_RATE).contains(&rate) => Ok(rate),
        _ => Err(format!("write votes per second from 0.01 to {MAX_RATE}, such as 1")),
    }
}

/// A time as in `90s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time with its unit, such as 90s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values_are_read_and_bad_ones_explained() {
        assert_eq!(host("emoji-svc.emojivoto:8080").unwrap(), "emoji-svc.emojivoto:8080");
        assert_eq!(host("[::1]:8080").unwrap(), "[::1]:8080");
        for bad in ["", "emoji-svc", "emoji-svc:0", "http://emoji-svc:80", "me@emoji-svc:80", "a b:1"] {
            assert!(host(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
        assert_eq!(failure_rate("0.5"), Ok(0.5));
        for bad in ["", "2", "-1", "NaN", "half"] {
            assert!(failure_rate(bad).is_err() && rate(bad.trim_matches('2')).is_err(), "{bad}");
        }
        assert_eq!(delay("250"), Ok(Duration::from_millis(250)));
        assert!(delay("250ms").is_err() && delay("60001").is_err());
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert!(time("90").unwrap_err().contains("unit"));
    }
}
