//! Docker's documented expansions, and what its lexer does with quotes and escapes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::containerfile::Escape;
use super::expand::{ExpandError, LONGEST_BYTES, expand, expand_text, expand_words};

fn variables() -> BTreeMap<String, String> {
    [("x", "xyz"), ("empty", ""), ("path", "/usr/lib/a.tar.gz"), ("spaced", "a b  c"), ("q", "\"'"), ("uni", "äöä")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn expanded(text: &str) -> Result<String, ExpandError> {
    expand(text, &variables(), Escape::Backslash)
}

#[test]
fn expands_variables() {
    for (text, expected) in [
        ("a$x.b", "axyz.b"),
        ("a${x}b", "axyzb"),
        ("$unset|${unset}", "|"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$1a $12 $@", "a  "),
        ("${x:-w}${empty:-w}${unset:-w}", "xyzww"),
        ("${x-w}${empty-w}${unset-w}", "xyzw"),
        ("${x:+w}|${empty:+w}|${unset:+w}", "w||"),
        ("${x+w}|${empty+w}|${unset+w}", "w|w|"),
        ("${x:?w}${x?w}${empty?w}", "xyzxyz"),
        ("${unset:-${unset:-$x}}", "xyz"),
        ("${unset:-'a }'}", "a }"),
        ("${unset:-a\\}}", "a}"),
        ("${path#*/}|${path##*/}", "usr/lib/a.tar.gz|a.tar.gz"),
        ("${path%.*}|${path%%.*}", "/usr/lib/a.tar|/usr/lib/a"),
        ("${path#/???/}|${path%no}|${path##*}|${path#*}", "lib/a.tar.gz|/usr/lib/a.tar.gz||/usr/lib/a.tar.gz"),
        ("${path%$unset.gz}${path#/usr$unset}", "/usr/lib/a.tar/lib/a.tar.gz"),
        ("${path/a/A}|${path//a/A}", "/usr/lib/A.tar.gz|/usr/lib/A.tAr.gz"),
        (r"${path//\//:}", ":usr:lib:a.tar.gz"),
        ("${path/*./}|${path//?r/-}", "gz|/u-/lib/a.t-.gz"),
        ("${path/nothing/x}${unset/a/b}", "/usr/lib/a.tar.gz"),
        ("${uni/ö/o}|${uni%ä}|${uni#?}", "äoä|äö|öä"),
        (r"${x/\*/}${x#\?}", "xyzxyz"),
    ] {
        assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn removes_quotes_and_escapes() {
    for (text, expected) in [
        ("'$x'", "$x"),
        ("\"$x\"", "xyz"),
        ("a'b'\"c\"", "abc"),
        (r"\$x\\\a", r"$x\a"),
        (r#""\$x \" \\ \a""#, r#"$x " \ \a"#),
        (r"'\'", r"\"),
        (r"a\", "a"),
        ("\"it's\" 'a\"b'", "it's a\"b"),
        ("$q", "\"'"),
        ("  a  b ", "  a  b "),
    ] {
        assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(expand("`$x \\$x", &variables(), Escape::Backtick).as_deref(), Ok("$x \\xyz"));
}

#[test]
fn leaves_the_quotes_of_files_alone() {
    for (text, expected) in
        [("'$x' \"$x\"\n", "'xyz' \"xyz\"\n"), ("it's\n", "it's\n"), (r"\$x", "$x"), ("${unset:-'a'}", "'a'")]
    {
        assert_eq!(expand_text(text, &variables()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn splits_into_words() {
    for (text, expected) in [
        ("a b", vec!["a", "b"]),
        ("$spaced", vec!["a", "b", "c"]),
        ("\"$spaced\"", vec!["a b  c"]),
        ("x$spaced", vec!["xa", "b", "c"]),
        (r"a\ b", vec!["a b"]),
        ("''  \"\" $empty", vec![]),
        ("80 '90'", vec!["80", "90"]),
    ] {
        assert_eq!(expand_words(text, &variables(), Escape::Backslash), Ok(words(expected)), "{text}");
    }
}

fn words(words: Vec<&str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn refuses_what_is_no_substitution() {
    for (text, expected) in [
        ("'a", "the quote `'` is not closed"),
        ("\"a", "the quote `\"` is not closed"),
        ("${", "`${` is not closed by `}`"),
        ("${x", "`${` is not closed by `}`"),
        ("${x:", "`${` is not closed by `}`"),
        ("${x:-a", "`${` is not closed by `}`"),
        ("${x/a}", "`${x/pattern/replacement}` needs a second `/`"),
        ("${}", "`${` names no variable"),
        ("${{x}}", "`${` names no variable"),
        ("${:-a}", "`${` names no variable"),
        ("${x@a}", "`@` after `${x` is no substitution"),
        ("${x:}", "`:}` after `${x` is no substitution"),
        ("${x:#a}", "`:#` after `${x` is no substitution"),
        ("${unset?}", "`unset` is unset"),
        ("${empty:?}", "`empty` is unset or empty"),
        ("${unset:?set $x}", "`unset` is required: set xyz"),
        (r"${x#\x}", "`\\x` means nothing in a pattern"),
    ] {
        assert_eq!(expanded(text).expect_err(text).to_string(), expected, "{text}");
    }
}

#[test]
fn stays_within_limits() {
    let big: BTreeMap<_, _> = [("a".to_owned(), "x".repeat(LONGEST_BYTES - 1))].into();
    assert!(expand("$a", &big, Escape::Backslash).is_ok());
    assert_eq!(expand("$a$a", &big, Escape::Backslash), Err(ExpandError::TooLong { limit_bytes: LONGEST_BYTES }));
    assert!(matches!(expand("${a//x/yy}", &big, Escape::Backslash), Err(ExpandError::TooLong { .. })));
    assert!(matches!(expanded(&"${y:-".repeat(10_000)), Err(ExpandError::TooDeep { .. })));
    assert!(matches!(expanded(&format!("${{x#{}}}", "a*".repeat(10_000))), Err(ExpandError::PatternTooLong { .. })));
    // Many stars, which a backtracking matcher never finishes.
    assert_eq!(expand(&format!("${{a##{}b}}", "x*".repeat(30)), &big, Escape::Backslash).as_ref(), Ok(&big["a"]));
}

proptest! {
    #[test]
    fn never_panics(text in "[ax$ {}:+?#%/'\"\\\\*\n\u{e4}-]{0,40}") {
        for escape in [Escape::Backslash, Escape::Backtick] {
            let whole = expand(&text, &variables(), escape);
            let split = expand_words(&text, &variables(), escape);
            prop_assert_eq!(whole.is_ok(), split.is_ok());
        }
        expand_text(&text, &variables()).ok();
    }

    #[test]
    fn plain_text_stays(text in "[a-z0-9 /.,=ä-]{0,40}") {
        prop_assert_eq!(expanded(&text), Ok(text));
    }
}
