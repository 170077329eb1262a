//! Names, numbers, contexts and circles.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn graph(text: &str, contexts: &[&str], target: Option<&str>) -> Result<StageGraph, String> {
    let file = parse("f", text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let globals = Globals::new(&file, BTreeMap::new(), BTreeMap::new()).expect("globals");
    let contexts: BTreeSet<String> = contexts.iter().map(|name| (*name).to_owned()).collect();
    StageGraph::new(&file, &globals, contexts, target).map_err(|error| error.to_string())
}

const FOUR: &str = "ARG v=1
FROM scratch AS one
FROM debian:$v AS Two
COPY --from=one / /
FROM two
RUN --mount=from=0,target=/x --mount=type=cache,target=/c,from=TWO true
FROM other AS last
COPY --from=2 / /
COPY --from=busybox / /";

#[test]
fn finds_what_the_target_needs() {
    for (target, order) in [
        (None, vec![0, 1, 2, 3]),
        (Some("last"), vec![0, 1, 2, 3]),
        (Some("LAST"), vec![0, 1, 2, 3]),
        (Some("two"), vec![0, 1]),
        (Some("one"), vec![0]),
        (Some("0"), vec![0]),
        (Some("2"), vec![0, 1, 2]),
    ] {
        assert_eq!(graph(FOUR, &[], target).expect("a graph").order, order, "{target:?}");
    }
    let stages = graph(FOUR, &[], None).expect("a graph").stages;
    let bases: Vec<_> = stages.iter().map(|stage| stage.base.clone()).collect();
    let image = |name: &str| Origin::Image(name.to_owned());
    assert_eq!(bases, [Origin::Scratch, image("debian:1"), Origin::Stage(1), image("other")]);
    assert_eq!(stages[2].needs, BTreeSet::from([0, 1]));
}

#[test]
fn tells_stages_contexts_and_images_apart() {
    let graph = graph(FOUR, &["more", "docker.io/library/debian:1", "one"], None).expect("a graph");
    for (from, expected) in [
        ("Two", Ok(Origin::Stage(1))),
        ("3", Ok(Origin::Stage(3))),
        ("4", Err("there is no stage 4: they are numbered from 0 to 3")),
        ("more", Ok(Origin::Context("more".to_owned()))),
        ("debian:1", Ok(Origin::Context("docker.io/library/debian:1".to_owned()))),
        ("debian", Ok(Origin::Image("debian".to_owned()))),
        ("scratch", Ok(Origin::Scratch)),
    ] {
        assert_eq!(graph.origin(from), expected.map_err(str::to_owned), "{from}");
    }
    assert_eq!(graph.stages[1].base, Origin::Context("docker.io/library/debian:1".to_owned()));
    assert!(graph.stages[0].is_replaced && !graph.stages[1].is_replaced);
    assert_eq!(graph.stages[0].base, Origin::Context("one".to_owned()));
}

#[test]
fn a_later_stage_may_be_copied_from_but_not_stood_upon() {
    let graph = graph("FROM b AS a\nCOPY --from=b / /\nFROM c AS b", &[], Some("a")).expect("a graph");
    assert_eq!(graph.order, [1, 0]);
    assert_eq!(graph.stages[0].base, Origin::Image("b".to_owned()));
}

#[test]
fn refuses_circles_and_unknown_names() {
    for (text, target, expected) in [
        ("FROM a\nCOPY --from=0 / /", None, "f:1:1: stage 0 needs itself"),
        ("FROM a AS x\nCOPY --from=x / /", None, "f:1:1: stage `x` needs itself"),
        (
            "FROM a AS x\nCOPY --from=y / /\nFROM x AS y",
            None,
            "f:1:1: stage `x` needs stage `y`, which needs it in turn",
        ),
        ("FROM a\nCOPY --from=1 / /", None, "f:2:13: there is no stage 1: they are numbered from 0 to 0"),
        ("FROM a AS build", Some("biuld"), "f:1:1: there is no stage `biuld` (did you mean `build`?)"),
        ("FROM a", Some("1"), "f:1:1: there is no stage `1`"),
        (
            "FROM --platform=windows/amd64 a",
            None,
            "f:1:17: `windows` is no operating system that runs here: only `linux` does",
        ),
    ] {
        assert_eq!(graph(text, &[], target).expect_err(text), expected);
    }
    // What is not needed may be wrong.
    assert!(graph("FROM a\nCOPY --from=0 / /\nFROM --platform=windows/amd64 b\nFROM c", &[], None).is_ok());
}

#[test]
fn reads_platforms() {
    let text = "FROM --platform=linux/arm64 a";
    let platform = graph(text, &[], None).expect("a graph").stages[0].platform.clone();
    assert_eq!(platform.map(|platform| platform.to_string()).as_deref(), Some("linux/arm64"));
}
