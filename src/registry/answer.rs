//! What a server says of why it refuses.

use serde::Deserialize;

use super::error::clean;
use super::transport::Response;

/// Bytes of an answer that are looked at.
const MAX_REASON_BYTES: usize = 64 << 10;

/// The protocol's errors, and what proxies and other servers answer instead.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errors: Vec<Reason>,
    message: Option<String>,
    details: Option<String>,
    error_description: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: Option<String>,
    message: Option<String>,
}

/// The server's own words, clean and short; empty when there are none.
pub(super) fn reason(response: &mut Response) -> String {
    let is_text = response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
    // A reason that cannot be read is no reason to hide the status.
    response.bytes(MAX_REASON_BYTES).map(|bytes| parse_reason(&bytes, is_text)).unwrap_or_default()
}

fn parse_reason(bytes: &[u8], is_text: bool) -> String {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(bytes) {
        let first = refusal.errors.into_iter().next().unwrap_or_default();
        return clean(&match (first.message.filter(|text| !text.is_empty()), first.code) {
            (Some(message), Some(code)) => format!("{message} ({code})"),
            (Some(message), None) => message,
            (None, Some(code)) => code,
            (None, None) => refusal.message.or(refusal.details).or(refusal.error_description).unwrap_or_default(),
        });
    }
    if !is_text {
        return String::new();
    }
    clean(String::from_utf8_lossy(bytes).lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        for (text, is_text, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"requested access"}]}"#, false, "requested access (DENIED)"),
            (r#"{"errors":[{"code":"TOOMANYREQUESTS","detail":[1]}]}"#, false, "TOOMANYREQUESTS"),
            (r#"{"details":"incorrect username or password"}"#, false, "incorrect username or password"),
            (r#"{"errors":[]}"#, false, ""),
            ("{\"message\":\"\\u001b[2Jx\"}", false, "\\u{1b}[2Jx"),
            ("<html>", false, ""),
            ("no\nmore", true, "no"),
            ("", true, ""),
        ] {
            assert_eq!(parse_reason(text.as_bytes(), is_text), expected, "{text}");
        }
        assert_eq!(parse_reason("x".repeat(1000).as_bytes(), true).len(), 303);
    }
}
