//! Which variable is seen where.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expand::Variables;
use super::*;
use crate::image::platform::Platform;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn globals(file: &Containerfile, given: &[(&str, &str)]) -> Arc<Globals> {
    let platforms = platform_arguments(&Platform::linux("amd64", None), &Platform::linux("arm", Some("v7")), None);
    Arc::new(Globals::new(file, map(given), platforms).expect("globals"))
}

/// The labels of the last stage, after all its steps.
fn labels(text: &str, given: &[(&str, &str)]) -> Vec<(String, String)> {
    let file = parse("Containerfile", text).expect(text);
    let mut scope = globals(&file, given).stage(Environment::from_config(["PATH=/bin", "base=image"]));
    let mut labels = Vec::new();
    for step in &file.stages.last().expect("a stage").steps {
        match &step.instruction {
            Instruction::Arg(arguments) => drop(scope.declare(step, arguments).expect(text)),
            Instruction::Env(pairs) => drop(scope.assign(step, pairs).expect(text)),
            Instruction::Label(pairs) => labels.extend(scope.pairs(step, pairs).expect(text)),
            other => panic!("{other:?}"),
        }
    }
    labels
}

#[test]
fn finds_the_value_that_holds() {
    for (text, given, expected) in [
        // A global argument is seen in a stage only when it is declared there.
        ("ARG v=1\nFROM a\nLABEL l=$v", &[][..], ""),
        ("ARG v=1\nFROM a\nARG v\nLABEL l=$v", &[], "1"),
        ("ARG v=1\nFROM a\nARG v=2\nLABEL l=$v", &[], "2"),
        ("ARG v=1\nFROM a\nARG v\nLABEL l=$v", &[("v", "3")], "3"),
        ("ARG v\nFROM a\nARG v\nLABEL l=${v-unset}", &[], "unset"),
        ("ARG v=1\nARG w=$v-2\nFROM a\nARG w\nLABEL l=$w", &[], "1-2"),
        ("FROM a\nARG v=2\nLABEL l=$v", &[("v", "3")], "3"),
        ("FROM a\nLABEL l=${v-unset}", &[("v", "3")], "unset"),
        ("FROM a\nARG v\nLABEL l=${v-unset}", &[], "unset"),
        ("FROM a\nARG v=\nLABEL l=${v-unset}", &[], ""),
        // From the line of its declaration on.
        ("FROM a\nLABEL l=${v:-early}\nARG v=2", &[("v", "3")], "early"),
        ("FROM a\nARG v=1 w=$v\nLABEL l=$w", &[], "1"),
        ("FROM a\nARG v=1\nARG v\nLABEL l=$v", &[], "1"),
        ("FROM a\nARG v=1\nARG v=2\nLABEL l=$v", &[], "2"),
        // `ENV` beats `ARG`.
        ("FROM a\nARG v=1\nENV v=2\nLABEL l=$v", &[("v", "3")], "2"),
        ("FROM a\nENV v=2\nARG v=1\nLABEL l=$v", &[("v", "3")], "2"),
        ("FROM a\nARG base=1\nLABEL l=$base", &[], "image"),
        ("FROM a\nARG v=1\nENV v=${v}2\nLABEL l=$v", &[], "12"),
        ("FROM a\nENV v=1\nENV v=2 w=$v\nLABEL l=$w", &[], "1"),
        ("FROM a\nENV v 1 $base  2\nLABEL l=$v", &[], "1 image  2"),
        ("FROM a\nENV v='a  b' w=c\\ d\nLABEL l=$v$w", &[], "a  bc d"),
        // What needs no declaration, and where.
        (
            "FROM a\nARG TARGETPLATFORM\nARG TARGETVARIANT\nLABEL l=$TARGETPLATFORM-$TARGETVARIANT",
            &[],
            "linux/arm/v7-v7",
        ),
        ("FROM a\nARG BUILDARCH\nARG TARGETSTAGE\nLABEL l=$BUILDARCH-$TARGETSTAGE", &[], "amd64-default"),
        ("FROM a\nLABEL l=$TARGETARCH", &[], ""),
        ("FROM a\nARG TARGETARCH\nLABEL l=$TARGETARCH", &[("TARGETARCH", "mine")], "mine"),
        ("FROM a\nLABEL l=$HTTP_PROXY", &[("HTTP_PROXY", "p")], ""),
        // The key as well.
        ("FROM a\nENV v=l\nLABEL $v=\"$v\"", &[], "l"),
    ] {
        assert_eq!(labels(text, given), [("l".to_owned(), expected.to_owned())], "{text}");
    }
}

#[test]
fn expands_the_base() {
    for (text, given, expected) in [
        ("ARG v=1\nFROM a:$v", &[][..], Ok("a:1")),
        ("ARG v=1\nFROM a:$v", &[("v", "2")], Ok("a:2")),
        ("ARG v\nFROM a:${v:-3}", &[], Ok("a:3")),
        ("FROM a:$TARGETARCH", &[], Ok("a:arm")),
        ("ARG v\nFROM $v", &[], Err("Containerfile:2:6: `$v` is empty")),
        ("FROM a\nARG v=1\nFROM $v", &[], Err("Containerfile:3:6: `$v` is empty")),
        ("FROM a\nFROM b${v", &[], Err("Containerfile:2:6: cannot expand `b${v`: `${` is not closed by `}`")),
        ("FROM ${v:?version}", &[], Err("Containerfile:1:6: `v` is required: version")),
    ] {
        let file = parse("Containerfile", text).unwrap_or_else(|error| panic!("{error}"));
        let base = globals(&file, given).from(&file.stages.last().expect("a stage").base);
        assert_eq!(
            base.map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    }
}

#[test]
fn shows_what_a_step_depends_on() {
    let file = parse("Containerfile", "FROM a\nARG a=1 b c\nENV b=2 PATH=$PATH:/x").expect("a file");
    let mut scope = globals(&file, &[("HTTP_PROXY", "p"), ("no_proxy", "q"), ("other", "o"), ("c", "")])
        .stage(Environment::from_config(["no_proxy=base", "PATH=/bin", "odd"]));
    for step in &file.stages[0].steps {
        match &step.instruction {
            Instruction::Arg(arguments) => {
                let shown = scope.declare(step, arguments).expect("values");
                let text = |value: &str| Some(value.to_owned());
                assert_eq!(shown, [("a".to_owned(), text("1")), ("b".to_owned(), None), ("c".to_owned(), text(""))]);
            }
            Instruction::Env(pairs) => drop(scope.assign(step, pairs).expect("values")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(scope.environment().to_config(), ["no_proxy=base", "PATH=/bin:/x", "odd=", "b=2"]);
    assert_eq!(scope.arguments().collect::<Vec<_>>(), [("a", "1"), ("c", "")]);
    assert_eq!(scope.proxies().collect::<Vec<_>>(), [("HTTP_PROXY", "p")]);
    assert_eq!(Variables::get(&scope, "other"), None);
}

#[test]
fn expands_heredocs_and_mounts() {
    let text = "FROM a\nARG v=1\nCOPY <<A <<'B' /\n'$v' \"$v\"\nA\n$v\nB\nRUN --mount=type=cache,target=/c/$v,id=x$v,uid=1000,mode=0700,sharing=locked true";
    let file = parse("Containerfile", text).expect("a file");
    let [arg, copy, run] = file.stages[0].steps.as_slice() else { panic!("three steps") };
    let mut scope = globals(&file, &[]).stage(Environment::default());
    let Instruction::Arg(arguments) = &arg.instruction else { panic!("an argument") };
    scope.declare(arg, arguments).expect("a value");
    let Instruction::Copy(files) = &copy.instruction else { panic!("a copy") };
    let contents: Vec<_> = files
        .files
        .sources
        .iter()
        .map(|source| match source {
            FileSource::Heredoc(heredoc) => scope.heredoc(copy, heredoc).expect("content"),
            FileSource::Path(_) => panic!("a path"),
        })
        .collect();
    assert_eq!(contents, ["'1' \"1\"\n", "$v\n"]);
    let Instruction::Run(run_step) = &run.instruction else { panic!("a run") };
    assert_eq!(
        scope.mount(run, &run_step.mounts[0]),
        Ok(Mount::Cache {
            id: Some("x1".to_owned()),
            target: "/c/1".to_owned(),
            sharing: Sharing::Locked,
            from: None,
            source: String::new(),
            is_read_only: false,
            owner: MountOwner { uid: Some(1000), gid: None, mode: Some(0o700) },
        })
    );
}
