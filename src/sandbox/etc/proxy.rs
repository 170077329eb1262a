//! The host's proxy variables.

/// Programs disagree about the case: curl reads only the lower-case `http_proxy`, others only upper-case names.
const NAMES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// The variables to set in a box, both cases of each. `get` reads the host's environment. Where the host has the two
/// cases with different values, both stay as they are.
pub fn proxy_environment(get: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for lower in NAMES {
        let upper = lower.to_ascii_uppercase();
        let (in_lower, in_upper) = (get(lower), get(&upper));
        if let Some(value) = in_lower.clone().or_else(|| in_upper.clone()) {
            variables.push((lower.to_owned(), value));
        }
        if let Some(value) = in_upper.or(in_lower) {
            variables.push((upper, value));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cases() {
        let host = [("http_proxy", "a"), ("HTTPS_PROXY", "b"), ("no_proxy", "c"), ("NO_PROXY", "d"), ("PATH", "e")];
        let got = proxy_environment(|name| host.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        let got: Vec<(&str, &str)> = got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            got,
            [
                ("http_proxy", "a"),
                ("HTTP_PROXY", "a"),
                ("https_proxy", "b"),
                ("HTTPS_PROXY", "b"),
                ("no_proxy", "c"),
                ("NO_PROXY", "d"),
            ]
        );
        assert!(proxy_environment(|_| None).is_empty());
    }
}
