//! `WWW-Authenticate`: how a server wants to be told who asks (RFC 9110, section 11.6.1).

use ureq::http::HeaderMap;

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token that another server gives.
    Bearer {
        /// The address of the token server.
        realm: String,
        /// What the token is for.
        service: Option<String>,
        /// What the request would have needed.
        scope: Option<String>,
    },
}

/// The challenge to answer: bearer before basic; `None` when there is neither.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
    let found: Vec<_> = texts.flat_map(parse).collect();
    found.iter().find(|one| matches!(one, Challenge::Bearer { .. })).or(found.first()).cloned()
}

/// The challenges of one header that are known here.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([',', ' ', '\t']);
    while !rest.is_empty() {
        let (scheme, after) = token(rest);
        if scheme.is_empty() {
            break;
        }
        let (parameters, after) = parameters(after);
        let value = |name: &str| {
            parameters.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            found.push(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    found
}

/// `name=value` pairs up to the next scheme, which is a word without `=`.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start_matches([',', ' ', '\t']);
        let (name, after) = token(start);
        let Some(value) = after.trim_start().strip_prefix('=') else { return (found, start) };
        if name.is_empty() {
            return (found, "");
        }
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = token(value);
                (value.to_owned(), after)
            }
        };
        found.push((name.to_owned(), value));
        rest = after;
    }
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// What stands before the closing quote, and what after it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) }
    }

    #[test]
    fn challenges() {
        for (text, expected) in [
            (
                r#"Bearer realm="https://a.io/token",service="r.io",scope="repository:a/b:pull,push""#,
                vec![bearer("https://a.io/token", Some("r.io"), Some("repository:a/b:pull,push"))],
            ),
            (r#"Basic realm="x""#, vec![Challenge::Basic]),
            (
                r#"basic realm="a, Bearer b=\"c\"", BEARER Realm = https://a.io/t , x=y"#,
                vec![Challenge::Basic, bearer("https://a.io/t", None, None)],
            ),
            ("Negotiate, Basic", vec![Challenge::Basic]),
            ("Negotiate", vec![]),
            ("Bearer", vec![]),
            (r#"Bearer realm=""#, vec![bearer("", None, None)]),
            (r#"Bearer =,"#, vec![]),
            ("\u{1}", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn bearer_is_preferred() {
        let mut headers = HeaderMap::new();
        assert_eq!(challenge(&headers), None);
        headers.append("www-authenticate", "Basic realm=x".parse().unwrap());
        assert_eq!(challenge(&headers), Some(Challenge::Basic));
        headers.append("www-authenticate", "Bearer realm=\"y\"".parse().unwrap());
        assert_eq!(challenge(&headers), Some(bearer("y", None, None)));
    }
}
