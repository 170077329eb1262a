//! `network.bandwidth`: rates in `tc`'s words. Pure.

use serde::Serialize;

/// The least that can be asked for, in bits per second: below it one packet takes seconds.
const LEAST: u64 = 100_000;

/// Bits per second; `None`: as fast as it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// What the box sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<u64>,
    /// What it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<u64>,
}

/// Reads `50mbit`, `2.5gbit` or `500kbit`, as bits per second.
pub fn parse_rate(text: &str) -> Result<u64, &'static str> {
    let fault = "write a number and `kbit`, `mbit` or `gbit`, such as `50mbit`";
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(fault)?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(fault),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| plain).ok_or(fault)?;
    match number * factor {
        rate if rate < LEAST as f64 => Err("the least is `100kbit`"),
        rate if rate > 1e12 => Err("the most is `1000gbit`"),
        rate => Ok(rate as u64),
    }
}

/// A rate as it is written.
#[must_use]
pub fn format_rate(rate: u64) -> String {
    match rate {
        rate if rate.is_multiple_of(1_000_000_000) => format!("{}gbit", rate / 1_000_000_000),
        rate if rate.is_multiple_of(1_000_000) => format!("{}mbit", rate / 1_000_000),
        rate => format!("{}kbit", rate as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, rate) in [("50mbit", 50_000_000), ("2.5gbit", 2_500_000_000), ("100kbit", 100_000)] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
            assert_eq!(parse_rate(&format_rate(rate)), Ok(rate));
        }
        for text in
            ["", "50", "mbit", "-5mbit", "1e3mbit", "50Mbit", "50mb", "50 mbit", "99kbit", "1001gbit", "infmbit"]
        {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
