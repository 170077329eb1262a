//! The documents hold together: links lead somewhere, the changelog names the version, scripts run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of the root and of `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in [root().to_owned(), root().join("docs")] {
        for entry in fs::read_dir(directory).expect("read a directory") {
            let path = entry.expect("read a directory").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The targets of `[text](target)` outside of code blocks and code spans.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every second piece between backticks is code; a link's text may be code, its target is not.
        for piece in line.split('`').step_by(2) {
            let mut rest = piece;
            while let Some((_, after)) = rest.split_once("](") {
                let Some((target, after)) = after.split_once(')') else { break };
                found.push(target);
                rest = after;
            }
        }
    }
    found
}

/// The anchor that is made of a heading: letters and digits in lower case, blanks as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[test]
fn links_are_found_outside_of_code() {
    let text = "a [b](c.md) `[x](y)` [`d`](e.md#f)\n```\n[no](no.md)\n```\n[z](https://example.org)";
    assert_eq!(links(text), ["c.md", "e.md#f", "https://example.org"]);
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("read a document");
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().expect("a file has a directory").join(file)
            };
            let leads = target.exists()
                && heading.is_none_or(|heading| {
                    let text = fs::read_to_string(&target).unwrap_or_default();
                    text.lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| anchor(line.trim_start_matches('#')) == heading)
                });
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).expect("read CHANGELOG.md");
    let versions: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## [")).collect();
    assert!(versions.first().is_some_and(|first| first.starts_with("Unreleased]")), "{versions:?}");
    let known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(known.contains(&heading), "`{heading}` is no kind of change");
    }
}

#[test]
fn scripts_can_be_run() {
    let mut scripts = vec![root().join(".ci/run")];
    scripts.extend(fs::read_dir(root().join("scripts")).expect("scripts").map(|entry| entry.expect("scripts").path()));
    for script in scripts.into_iter().filter(|path| path.is_file()) {
        let meta = fs::metadata(&script).expect("read a script");
        assert_eq!(meta.permissions().mode() & 0o111, 0o111, "{}", script.display());
        assert!(fs::read(&script).expect("read a script").starts_with(b"#!"), "{}", script.display());
    }
}

/// The words after `make` in code spans and at the start of lines of code.
fn make_targets(text: &str) -> Vec<&str> {
    let after = |line: &'static str| text.split(line).skip(1);
    let target = |rest: &'_ str| rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
    after("`make ").chain(after("\nmake ")).map(|rest| &rest[..target(rest)]).collect()
}

#[test]
fn every_make_target_that_is_mentioned_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("read Makefile");
    for document in documents() {
        for target in make_targets(&fs::read_to_string(&document).expect("read a document")) {
            let is_known = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(is_known, "{}: `make {target}`", document.display());
        }
    }
}

/// The binary, for a user without any configuration.
fn devbox(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devbox"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").output().expect("run the binary")
}

#[test]
fn commands_in_documents_exist() {
    let mut unknown = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("read a document");
        for rest in text.split("`devbox ").skip(1).chain(text.split("$ devbox ").skip(1)) {
            let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if word.starts_with(|c: char| c.is_ascii_lowercase())
                && seen.insert(word.clone())
                && !devbox(&[&word, "--help"]).status.success()
            {
                unknown.push(format!("{}: `devbox {word}`", document.display()));
            }
        }
    }
    assert!(seen.len() > 5 && unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn the_readme_lists_the_shipped_profiles() {
    let readme = fs::read_to_string(root().join("README.md")).expect("read README.md");
    let listed = String::from_utf8(devbox(&["profile", "list"]).stdout).expect("text");
    assert!(!listed.is_empty() && readme.contains(&format!("$ devbox profile list\n{listed}```")), "{listed}");
}

#[test]
fn the_recorded_session_is_the_one_that_the_script_types() {
    let picture = fs::read_to_string(root().join("docs/session.svg")).expect("the picture");
    assert!(picture.len() < 60 << 10 && picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    let plain = picture.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let script = fs::read_to_string(root().join("scripts/record")).expect("the script");
    let session = script.split_once("SESSION = [").and_then(|(_, rest)| rest.split_once("\n]\n")).expect("a list").0;
    let typed: Vec<&str> =
        session.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect();
    assert!(typed.len() > 5, "{session}");
    for line in typed {
        assert!(plain.contains(&format!(" {line}</tspan>")), "`{line}` is not in docs/session.svg: run scripts/record");
    }
}

/// `FILE::NAME` and `FILE::{NAME, NAME}` in code spans, as file and name.
fn tests_named_in(text: &str) -> Vec<(String, String)> {
    let spans = text.split('`').skip(1).step_by(2);
    let named = spans.filter_map(|span| span.split_once("::")).filter(|(file, _)| file.contains('/'));
    named
        .flat_map(|(file, names)| {
            let names = names.trim_start_matches('{').trim_end_matches('}').split(", ");
            names.map(|name| (file.to_owned(), name.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn tests_that_promises_name_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).expect("a file");
    let named = tests_named_in(&text);
    assert!(named.len() > 50, "{named:?}");
    for (file, name) in named {
        let path = if file.starts_with("src/") { file } else { format!("tests/{file}") };
        let source = fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("#[test]\nfn {name}()")), "SECURITY.md names `{name}` of `{path}`");
    }
    // And what attacks a wall is named.
    for entry in fs::read_dir(root().join("tests/security")).expect("a directory") {
        let path = entry.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("a file");
        for name in source.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split_once('(')).map(|(name, _)| name) {
            assert!(
                path.ends_with("audit.rs") || text.contains(name),
                "SECURITY.md lacks `{name}` of {}",
                path.display()
            );
        }
    }
}
