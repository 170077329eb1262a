//! Profiles that cannot be used, and what is said of them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::devbox::Devbox;

#[test]
fn mistakes_are_drawn() {
    for (profile, expected) in [
        (
            "name = \"shop\"\npakages = [\"jq\"]\n",
            "error: unknown key `pakages`\n --> [TEST]/project/devbox.toml:2:1\n  |\n2 | pakages = [\"jq\"]\n  \
             | ^^^^^^^ did you mean `packages`?\n",
        ),
        (
            "name = \"a/b\"\n",
            "error: this cannot be the name of a box\n --> [TEST]/project/devbox.toml:1:8\n  |\n1 | name = \"a/b\"\n  \
             |        ^^^^^ it contains a slash\n",
        ),
    ] {
        let test = Devbox::new();
        test.profile(profile);
        test.args(["profile", "check"]).status(1).stderr(expected).run();
        test.args(["profile", "check", "devbox.toml"]).status(1).stderr(expected).run();
        test.args(["run", "--", "true"]).status(125).stderr(expected).run();
        test.args(["enter"]).status(125).stderr(expected).run();
        assert!(test.boxes().is_empty(), "nothing is half done");
    }
}

#[test]
fn every_mistake_has_a_place() {
    for (profile, place) in [
        ("name = \n", "1:"),
        ("packages = \"jq\"\n", "1:12"),
        ("[network]\nmode = \"bridge\"\n", "2:8"),
        ("distro = \"debian:bookworm\"\nrootfs = \"./root\"\n", "2:"),
        ("[env]\nA = 1\n", "2:5"),
        ("[[mounts]]\nsource = \"a\"\ntarget = \"/proc/x\"\n", "3:10"),
        ("[[mounts]]\nsource = \"a\"\n", "1:"),
        ("name = \"x\\u001b[31m\"\n", "1:8"),
        ("extends = \"no-such-profile\"\n", "1:11"),
        ("lifetime = \"for ever\"\n", "1:12"),
        ("[tasks]\n\"a b\" = \"true\"\n", "2:"),
        ("shell = \"zsh\"\n", "1:9"),
    ] {
        let test = Devbox::new();
        test.profile(profile);
        let stderr = test.args(["profile", "check"]).status(1).any_stderr().run().stderr;
        assert!(stderr.starts_with("error: "), "{profile}\n{stderr}");
        assert!(stderr.contains(&format!("\n --> [TEST]/project/devbox.toml:{place}")), "{profile}\n{stderr}");
        assert!(!stderr.contains('\x1b'), "{profile}\n{stderr:?}");
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let test = Devbox::new();
    test.file("devbox.toml", b"name = \"sh\xffop\"\n");
    let expected = "error: profile `[TEST]/project/devbox.toml` is not UTF-8: byte 11 of line 1\n";
    test.args(["profile", "check"]).status(1).stderr(expected).run();
}

#[test]
fn a_huge_profile_is_not_read() {
    let test = Devbox::new();
    let file = fs::File::create(test.project().join("devbox.toml")).expect("create a file");
    file.set_len(100 << 20).expect("a sparse file");
    let expected =
        "error: profile `[TEST]/project/devbox.toml` is too large: 104857600 bytes, at most 1048576 are read\n";
    test.args(["profile", "check"]).status(1).stderr(expected).run();
}

#[test]
fn what_is_no_file_is_refused() {
    let at = |test: &Devbox| test.project().join("devbox.toml");
    type Make<'a> = &'a dyn Fn(&Devbox);
    let cases: [(Make, &str); 4] = [
        (&|test| symlink("devbox.toml", at(test)).expect("a link"), "is a symlink that leads in a circle"),
        (&|test| symlink("gone.toml", at(test)).expect("a link"), "is a symlink to a file that does not exist"),
        (&|test| fs::create_dir(at(test)).expect("a directory"), "is a directory, not a file"),
        (&|test| symlink("/dev/zero", at(test)).expect("a link"), "is a device, not a file"),
    ];
    for (make, expected) in cases {
        let test = Devbox::new();
        make(&test);
        let expected = format!("error: profile `[TEST]/project/devbox.toml` {expected}\n");
        test.args(["profile", "check"]).status(1).stderr(expected).run();
    }
}

#[test]
fn a_good_profile_is_silence() {
    let test = Devbox::new();
    test.args(["profile", "check"]).run();
    test.profile("extends = \"rust\"\n[tasks]\ntest = \"cargo test\"\n");
    test.args(["profile", "check"]).run();
    test.args(["profile", "check", "devbox.toml"]).run();
    // The schema is JSON.
    let schema = test.args(["profile", "schema"]).any_stdout().run().stdout;
    serde_json::from_str::<serde_json::Value>(&schema).expect("JSON");
}

#[test]
fn a_profile_is_found_from_below() {
    let test = Devbox::new();
    test.profile("pakages = []\n").file("src/deep/x", "");
    let stderr = test
        .args(["profile", "check"])
        .current_dir(test.project().join("src/deep"))
        .status(1)
        .any_stderr()
        .run()
        .stderr;
    assert!(stderr.contains("[TEST]/project/devbox.toml:1:1"), "{stderr}");
    let other = test.args(["-C", "src/deep", "profile", "check"]).status(1).any_stderr().run().stderr;
    assert_eq!(stderr, other);
}

#[test]
fn the_shipped_profiles_are_listed() {
    let test = Devbox::new();
    let listed = test.args(["profile", "list"]).any_stdout().run().stdout;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["agent", "base", "c", "go", "java", "node", "python", "rust"]);
    let json = test.args(["profile", "list", "--format", "json"]).any_stdout().run().stdout;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows.len(), names.len());
}

#[test]
fn unknown_tasks_are_status_125() {
    let test = Devbox::new();
    test.profile("[tasks]\nstage = \"true\"\n");
    for (task, hint) in [("stag", "did you mean `stage`?"), ("hello", "`devbox run -- hello` runs a program")] {
        let expected = format!("error: there is no task `{task}`\nhint: {hint}\n");
        test.args(["run", task]).status(125).stderr(expected).run();
    }
}
