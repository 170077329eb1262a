//! JSON from strangers: little text must not become much in memory.

use serde::de::{DeserializeOwned, Error};

/// Values in one document. Real ones have some thousands; an empty object, two bytes, can take hundreds in memory.
pub const MAX_VALUES: usize = 200_000;

/// Reads `untrusted`, whose length the caller has limited.
pub fn parse<T: DeserializeOwned>(untrusted: &[u8]) -> Result<T, serde_json::Error> {
    if has_more_values(untrusted, MAX_VALUES) {
        return Err(serde_json::Error::custom(format!("it has more than {MAX_VALUES} values")));
    }
    serde_json::from_slice(untrusted)
}

/// Whether there are more values than `limit`, counted by what separates and opens them outside of strings.
fn has_more_values(text: &[u8], limit: usize) -> bool {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted() {
        for (text, values) in [("", 0), ("1", 0), ("[1,2,{}]", 4), (r#"{"a":"[[,\",","b\\":[]}"#, 3), (r#"",,"#, 0)] {
            assert!(!has_more_values(text.as_bytes(), values), "{text}");
            assert!(values == 0 || has_more_values(text.as_bytes(), values - 1), "{text}");
        }
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        let error = parse::<Vec<u8>>(many.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 200000 values");
        assert_eq!(parse::<Vec<u8>>(b"[1]").unwrap(), [1]);
    }
}
