//! The range of time over which figures are computed.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A range of time that ends now, in full seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window(u32);

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
/// Proxies are scraped every ten seconds. Less has too few scrapes for a rate.
const SHORTEST: u32 = 30;
const LONGEST: u32 = 7 * 86_400;

impl Window {
    pub const MINUTE: Self = Self(60);
    pub const HOUR: Self = Self(3600);

    pub fn length(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::MINUTE
    }
}

/// As in `10m` or `1h30m`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, seconds) in UNITS {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = seconds(text)
            .ok_or_else(|| format!("{text:?} is no range of time: write it as 90s, 10m, 6h or 1h30m"))?;
        match seconds {
            ..SHORTEST => Err(format!("{text:?} is too short for a rate: use at least {}", Self(SHORTEST))),
            SHORTEST..=LONGEST => Ok(Self(seconds)),
            _ => Err(format!("{text:?} is too long: use at most {}", Self(LONGEST))),
        }
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

/// The sum of numbers with their units. One that is too large for the type is as long as it can be.
fn seconds(text: &str) -> Option<u32> {
    let mut sum = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| (1..=10).contains(digits))?;
        let (number, after) = rest.split_at(digits);
        let number = u32::try_from(number.parse::<u64>().ok()?).unwrap_or(u32::MAX);
        let mut after = after.chars();
        let unit = after.next()?;
        let (_, length) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
        sum = sum.saturating_add(number.saturating_mul(length));
        rest = after.as_str();
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_written_as_it_is_read() {
        for text in ["30s", "1m", "1m30s", "10m", "1h", "1h30m", "6h", "1d", "7d"] {
            assert_eq!(text.parse::<Window>().map(|window| window.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("60s".parse(), Ok(Window::MINUTE));
        assert_eq!("90m".parse::<Window>().map(Window::length), Ok(Duration::from_secs(5400)));
        assert_eq!(serde_json::to_string(&Window::HOUR).ok().as_deref(), Some("\"1h\""));
        assert!(serde_json::from_str::<Window>("\"7x\"").is_err());
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_would_be_one() {
        for text in ["", "m", "10", "10x", "-5m", "1h ", "1.5h", "m10", "12345678901s", "ü"] {
            let error = text.parse::<Window>().expect_err(text);
            assert!(error.contains("90s, 10m, 6h or 1h30m"), "{error}");
        }
        for text in ["0s", "29s"] {
            assert!(text.parse::<Window>().expect_err(text).ends_with("use at least 30s"));
        }
        for text in ["8d", "169h", "9999999999d"] {
            assert!(text.parse::<Window>().expect_err(text).ends_with("use at most 7d"));
        }
    }
}
