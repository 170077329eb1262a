//! Commands about boxes, with none and with one.

use crate::support::devbox::Devbox;

const NO_BOX: &str = "error: the project `[TEST]/project` has no box yet\n\
                      hint: `devbox enter` makes it; `devbox list` shows the boxes there are\n";

#[test]
fn no_boxes() {
    let test = Devbox::new();
    test.args(["list"]).stdout("no boxes\n").run();
    test.args(["ls", "--format", "json"]).stdout("[]\n").run();
    test.args(["stop", "--all"]).run();
    test.args(["rm", "--force"]).run();
    test.args(["rm", "--force", "nothing"]).run();
    for args in [
        &["status"][..],
        &["stop"],
        &["rm"],
        &["reset"],
        &["diff"],
        &["logs"],
        &["snapshot", "list"],
        &["snapshot", "create", "good"],
        &["snapshot", "restore", "good"],
        &["snapshot", "rm", "good"],
        &["clone", "."],
    ] {
        test.args(args).status(1).stderr(NO_BOX).run();
    }
    for name in ["shop", "a/b", "../project", "-x", ""] {
        let output = test.args(["status", "--", name]).status(1).any_stderr().run();
        let expected = format!("error: there is no box `{name}`\nhint: `devbox list` shows the boxes there are\n");
        assert_eq!(output.stderr, expected);
    }
    assert!(!test.data().exists(), "looking leaves nothing behind");
}

/// A box on a root that holds nothing: it starts, and finds no program.
fn made() -> Devbox {
    let test = Devbox::new();
    std::fs::create_dir_all(test.project().join("root/usr")).expect("a directory");
    test.profile("name = \"shop\"\nrootfs = \"./root\"\n[network]\nmode = \"none\"\n");
    let missing = "error: cannot run `nothing`: no such program in the box\n\
                   hint: a task needs an entry in `[tasks]`; a program must be installed in the box\n";
    test.args(["run", "--", "nothing"]).status(127).stderr(missing).run();
    test.args(["stop"]).run();
    test
}

#[test]
fn a_box_is_listed_until_it_is_removed() {
    crate::require!(Userns, Overlay);
    let test = made();
    let listed = test.args(["list"]).any_stdout().run().stdout;
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "STATE", "CREATED", "PROJECT"]);
    assert_eq!((words[1][0], words[1][1], words[1][3]), ("shop", "stopped", "[TEST]/project"));
    assert_eq!(words.len(), 2);

    let json = test.args(["status", "--format", "json"]).any_stdout().run().stdout;
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&status["name"], &status["state"]), (&"shop".into(), &"stopped".into()));

    test.args(["status", "shpo"])
        .status(1)
        .stderr("error: there is no box `shpo`; did you mean `shop`?\nhint: `devbox list` shows the boxes there are\n")
        .run();
    test.args(["rm", "shop"]).run();
    test.args(["list"]).stdout("no boxes\n").run();
    assert!(test.boxes().is_empty());
}

#[test]
fn snapshots_have_names() {
    crate::require!(Userns, Overlay);
    let test = made();
    let long = "x".repeat(300);
    for (name, expected) in [
        ("", "a name cannot be empty"),
        ("a/b", "the name `a/b` contains `/`"),
        ("..", "the name `..` begins with `.`"),
        ("a\tb", "the name `a\\tb` contains the character U+0009"),
        ("a\x1b[31m", "the name `a\\u{1b}[31m` contains the character U+001B"),
        (&long, "the name is 300 bytes long; at most 64 are allowed"),
    ] {
        test.args(["snapshot", "create", name]).status(1).stderr(format!("error: {expected}\n")).run();
    }
    test.args(["snapshot", "list"]).stdout("no snapshots\n").run();
    test.args(["snapshot", "create", "good"]).run();
    test.args(["snapshot", "create", "good"])
        .status(1)
        .stderr("error: the box `shop` has a snapshot `good` already\n")
        .run();
    for command in ["restore", "rm"] {
        test.args(["snapshot", command, "goo"])
            .status(1)
            .stderr("error: the box `shop` has no snapshot `goo`; did you mean `good`?\n")
            .run();
    }
    test.args(["snapshot", "restore", "good"]).run();
    test.args(["snapshot", "rm", "good"]).run();
    test.args(["snapshot", "list"]).stdout("no snapshots\n").run();
}

#[test]
fn a_broken_profile_does_not_keep_its_box() {
    crate::require!(Userns, Overlay);
    let test = made();
    test.profile("pakages = 1\n");
    test.args(["status"]).any_stdout().run();
    test.args(["stop"]).run();
    test.args(["rm"]).run();
    assert!(test.boxes().is_empty());
}
