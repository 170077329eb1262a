//! Text that others wrote, made fit for a terminal; errors in one line; and the word that was probably meant.

use std::borrow::Cow;

/// `text` with everything that could steer a terminal or reorder a line written as `\u{1b}`: control characters
/// (newlines too), bidirectional overrides, line separators and invisible characters.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_treacherous) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_treacherous(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// JSON with the same characters escaped as JSON escapes them, but for the newlines between its lines.
pub fn sanitize_json(json: &str) -> Cow<'_, str> {
    let escaped = |c: char| is_treacherous(c) && c != '\n';
    if !json.chars().any(escaped) {
        return Cow::Borrowed(json);
    }
    // They stand in strings alone, and each is one unit of UTF-16.
    let write = |c: char| if escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(write).collect())
}

/// For who counts bytes: instead of such characters beyond ASCII there are marks of the same length.
pub fn sanitize_in_place(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| !c.is_ascii() && is_treacherous(c)) {
        return Cow::Borrowed(text);
    }
    let write = |c: char| match c.len_utf8() {
        2 if is_treacherous(c) => '\u{b7}',
        3 if is_treacherous(c) => '\u{fffd}',
        _ => c,
    };
    Cow::Owned(text.chars().map(write).collect())
}

fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An error and its causes in one line, as it crosses from one process to another.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some say what their cause says.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// The fields of a line between its commas, as CSV and docker's `--mount` have them: one that begins with `"` ends at the
/// next one and may hold commas; `""` stands for `"` there.
#[must_use]
pub fn comma_fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    let mut is_first = true;
    while let Some(character) = characters.next() {
        match character {
            '"' if is_first => is_quoted = true,
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted => is_quoted = false,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
        is_first = character == ',' && !is_quoted;
    }
    fields.push(field);
    fields
}

/// `field` as [`comma_fields`] reads it.
#[must_use]
pub fn comma_field(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"']) {
        return Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")));
    }
    Cow::Borrowed(field)
}

/// The candidate that `word` was probably meant to be: at most a third of its letters wrong.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count().max(3)) / 3;
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate, allowed), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a`; more than `limit` when their
/// lengths alone say so.
fn edit_distance(a: &str, b: &str, limit: usize) -> usize {
    let (a_count, b_count) = (a.chars().count(), b.chars().count());
    if a_count.abs_diff(b_count) > limit {
        return limit + 1;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitizes() {
        for (text, clean) in [
            ("plain `text` äöü 漢字", "plain `text` äöü 漢字"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\r\t", "a\\u{a}b\\u{d}\\u{9}"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
        ] {
            assert_eq!(sanitize(text), clean);
        }
    }

    #[test]
    fn sanitizes_json_and_in_place() {
        let evil = "a\u{1b}\u{7f}\u{9b}\u{61c}\u{202e}\u{feff}ä\n";
        let json = serde_json::to_string_pretty(&[evil]).unwrap();
        let clean = sanitize_json(&json);
        assert_eq!(clean, "[\n  \"a\\u001b\\u007f\\u009b\\u061c\\u202e\\ufeffä\\n\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&clean).unwrap(), [evil]);
        let marked = sanitize_in_place(evil);
        assert_eq!(marked, "a\u{1b}\u{7f}··\u{fffd}\u{fffd}ä\n");
        assert_eq!(marked.len(), evil.len());
    }

    #[test]
    fn fields_between_commas() {
        for (line, fields) in [
            ("a=b,c", &["a=b", "c"][..]),
            ("", &[""]),
            ("a,,b", &["a", "", "b"]),
            (r#""source=/a,b","x""y",z"#, &["source=/a,b", "x\"y", "z"]),
            (r#"a"b,"c"#, &["a\"b", "c"]),
        ] {
            assert_eq!(comma_fields(line), fields, "{line}");
            let written: Vec<_> = fields.iter().map(|field| comma_field(field)).collect();
            assert_eq!(comma_fields(&written.join(",")), fields, "{line}");
        }
    }

    #[test]
    fn suggests_near_misses_only() {
        let keys = ["name", "packages", "mounts", "network"];
        for (word, expected) in [
            ("pakages", Some("packages")),
            ("package", Some("packages")),
            ("nmae", Some("name")),
            ("mount", Some("mounts")),
            ("image", None),
            ("services", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, keys), expected, "{word}");
        }
        assert_eq!(closest(&"x".repeat(1 << 20), keys), None);
    }
}
