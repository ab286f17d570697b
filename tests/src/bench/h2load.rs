//! Checks the maximum that the benchmark's own generator finds with a public one, `h2load` of nghttp2.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    case::{Protocol, Work},
    testbed::Testbed,
    variant::Route,
};

/// Requests per second of `work`; `None` if that is not a maximum of HTTP.
pub(super) fn measure(
    testbed: &Testbed,
    route: Route,
    work: Work,
    duration: Duration,
) -> Result<Option<f64>> {
    let Work::Http { protocol, rate: None, connections, streams } = work else { return Ok(None) };
    let address = testbed.target(route)?.at(work.kind())?;
    let mut command = testbed.client_command("h2load")?;
    command.args(["-t1", &format!("-c{connections}"), &format!("-m{streams}")]);
    // h2load takes whole seconds.
    command.arg(format!("--duration={}", duration.as_secs().max(1))).arg("--warm-up-time=1");
    match protocol {
        Protocol::Http1 => {
            command.args(["--h1", &format!("http://{address}/bench")]);
        }
        Protocol::Http2 => {
            command.arg(format!("http://{address}/bench"));
        }
        Protocol::Grpc => {
            let message = testbed.folder().join("message");
            fs::write(&message, super::load::message())?;
            command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(message);
            command.arg(format!("http://{address}/weft.bench.Echo/Call"));
        }
    }
    let output = command.output().context("h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load: {text}{}", String::from_utf8_lossy(&output.stderr));
    let rate = rate_of(&text).with_context(|| format!("h2load: {text}"))?;
    ensure!(failed(&text) == Some(0), "h2load: {text}");
    Ok(Some(rate))
}

/// From the line `finished in 2.00s, 12345.67 req/s, 13.4MB/s`.
fn rate_of(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("finished in"))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()
}

/// From the line `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`.
fn failed(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("requests:"))?;
    line.split(", ").find_map(|part| part.strip_suffix(" failed"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_failures_are_read() {
        let text = "finished in 2.00s, 17315.50 req/s, 1.65MB/s\nrequests: 34631 total, 34759 started, 34631 done, \
                    34631 succeeded, 3 failed, 3 errored, 0 timeout\n";
        assert_eq!(rate_of(text), Some(17315.5));
        assert_eq!(failed(text), Some(3));
        assert_eq!((rate_of("x"), failed("x")), (None, None));
    }
}
