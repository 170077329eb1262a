//! The module table of `src/lib.rs` holds: a module uses only rows above its own, `unsafe` stays in `sys`, only `ui` and
//! `cli` print, and no file grows past what can be read at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, beyond which it must be split.
const MAX_LINES: usize = 600;

/// A source file below `src/`.
struct Source {
    /// Relative to `src/`.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The row of the table that it belongs to; `lib` and `main` for the two roots.
    fn module(&self) -> &str {
        let first = self.path.components().next().expect("a path has a component").as_os_str().to_str();
        first.expect("a plain name").trim_end_matches(".rs")
    }

    /// Whether it is compiled for tests only: `tests.rs`, `x_tests.rs`, or anything below `tests/`.
    fn is_test(&self) -> bool {
        let mut names = self.path.iter().filter_map(|name| name.to_str()).map(|name| name.trim_end_matches(".rs"));
        names.any(|name| name == "tests" || name.ends_with("_tests"))
    }
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(directory).expect("read a directory") {
            let path = entry.expect("read a directory").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("read a source file");
                found.push(Source { path: path.strip_prefix(root).expect("below src").to_owned(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The names in the first column of the table in `src/lib.rs`, top row first.
fn table() -> Vec<String> {
    let library = sources().into_iter().find(|source| source.module() == "lib").expect("src/lib.rs");
    let row = |line: &str| Some(line.strip_prefix("//! | [`")?.split_once("`]")?.0.to_owned());
    library.text.lines().filter_map(row).collect()
}

/// Identifiers and single punctuation characters, without comments and without what stands in literals.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if let Some(length) = character(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the block comment at the start of `text`; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the string literal at the start of `text`: `""`, `b""`, `c""`, and the raw ones.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            if prefix.ends_with('r') { rest.trim_start_matches('#').starts_with('"') } else { rest.starts_with('"') }
        })
    })?;
    let body = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.find('"')?;
        let close = format!("\"{}", &body[..hashes]);
        let end = body[hashes + 1..].find(&close).map_or(body.len(), |end| hashes + 1 + end + close.len());
        return Some(prefix.len() + end);
    }
    let mut is_escaped = false;
    for (at, byte) in body.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(prefix.len() + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The length of the character literal at the start of `text`; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        return body[2..].find('\'').map(|end| end + 4);
    }
    body[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// The first names of all paths that start at `crate::`, those of `use crate::{a, b::c}` among them.
fn uses(tokens: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, window) in tokens.windows(4).enumerate() {
        let [keyword, colon, second, name] = window else { continue };
        if keyword != "crate" || colon != ":" || second != ":" {
            continue;
        }
        if name != "{" {
            found.insert(name.clone());
            continue;
        }
        let (mut depth, mut is_start) = (0, true);
        for token in &tokens[at + 3..] {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => is_start = true,
                name if depth == 1 && is_start => {
                    found.insert(name.to_owned());
                    is_start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn literals_and_comments_are_no_code() {
    for (text, expected) in [
        ("a::b // crate::c\n;", "a : : b ;"),
        ("/* x /* y */ z */ a", "a"),
        (r##"f("unsafe \" crate::x", r#"a " b"#, b"c", 'u', '\'', '"')"##, "f ( , , , , , )"),
        ("fn f<'a>(x: &'a str)", "fn f < ' a > ( x : & ' a str )"),
        ("bar(r, b)", "bar ( r , b )"),
    ] {
        assert_eq!(tokens(text).join(" "), expected, "{text}");
    }
}

#[test]
fn every_form_of_use_is_seen() {
    for (text, expected) in [
        ("use crate::sys;", "sys"),
        ("use crate::{sys::{a, b}, paths, ui::Color as C};", "paths sys ui"),
        ("fn f() -> crate::boxes::DevBox { crate::cli::run() }", "boxes cli"),
        ("pub(crate) fn f() { self::g(); super::h() }", ""),
    ] {
        assert_eq!(uses(&tokens(text)).into_iter().collect::<Vec<_>>().join(" "), expected, "{text}");
    }
}

#[test]
fn the_table_names_every_module() {
    let modules: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.module().to_owned())
        .filter(|module| !matches!(module.as_str(), "lib" | "main"))
        .collect();
    let table = table();
    assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), modules);
    assert_eq!(table.len(), modules.len(), "a row stands twice");
}

#[test]
fn a_module_uses_only_rows_above_its_own() {
    let table = table();
    let row = |name: &str| table.iter().position(|row| row == name);
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = row(source.module()) else { continue };
        for used in uses(&tokens(&source.text)) {
            match row(&used) {
                Some(used_row) if used_row <= own => {}
                Some(_) => wrong.push(format!("src/{}: `{used}` stands below", source.path.display())),
                None => wrong.push(format!("src/{}: `crate::{used}` is no module", source.path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stays_in_sys() {
    let is_wrong =
        |source: &Source| source.module() != "sys" && tokens(&source.text).iter().any(|word| word == "unsafe");
    let wrong: Vec<_> = sources().into_iter().filter(is_wrong).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn only_ui_and_cli_print() {
    let mut wrong = Vec::new();
    let may_print = |source: &Source| matches!(source.module(), "ui" | "cli" | "main") || source.is_test();
    for source in sources().iter().filter(|source| !may_print(source)) {
        for pair in tokens(&source.text).windows(2) {
            if matches!(pair[0].as_str(), "print" | "println" | "eprint" | "eprintln" | "dbg") && pair[1] == "!" {
                wrong.push(format!("src/{}: {}!", source.path.display(), pair[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let lines = |source: &Source| (source.path.clone(), source.text.lines().count());
    let long: Vec<_> = sources().iter().map(lines).filter(|(_, lines)| *lines > MAX_LINES).collect();
    assert!(long.is_empty(), "split at {MAX_LINES} lines: {long:?}");
}
