//! `add`, `remove` and `freeze`, as far as nothing has to be installed.

use std::fs;

use crate::support::devbox::Devbox;

#[test]
fn a_folder_without_a_profile() {
    let test = Devbox::new();
    for command in ["add", "remove"] {
        let expected = "error: `[TEST]/project` has no devbox.toml\nhint: `devbox init` writes one\n";
        test.args([command, "git"]).status(1).stderr(expected).run();
    }
    let expected = "error: the project `[TEST]/project` has no box yet\n\
                    hint: `devbox enter` makes it; `devbox list` shows the boxes there are\n";
    test.args(["freeze"]).status(1).stderr(expected).run();
}

#[test]
fn names_that_are_none() {
    let test = Devbox::new();
    let profile = "packages = [\"git\"]\n";
    test.profile(profile);
    for (name, fault) in [
        ("", "it is empty"),
        ("-y", "it would be taken for an option"),
        ("git-", "apt would remove it"),
        ("a b", "it contains a blank: write one package per entry"),
        ("a\"]", "letters, digits and `+-._:~=/@^<>` only"),
        ("$(id)", "letters, digits and `+-._:~=/@^<>` only"),
        ("./x.deb", "letters, digits and `+-._:~=/@^<>` only"),
        ("a;b", "letters, digits and `+-._:~=/@^<>` only"),
    ] {
        for command in ["add", "remove"] {
            let expected = format!("error: `{name}` is not the name of a package: {fault}\n");
            test.args([command, "--", "git", name]).status(1).stderr(expected).run();
        }
    }
    assert_eq!(fs::read_to_string(test.project().join("devbox.toml")).expect("read"), profile);
}

#[test]
fn what_cannot_be_removed() {
    let test = Devbox::new();
    test.profile("extends = \"./base.toml\"\npackages = [\"git\"]\n").file("base.toml", "packages = [\"make\"]\n");
    let expected = "error: `gti` is not among the packages of devbox.toml\nhint: did you mean `git`?\n";
    test.args(["remove", "gti"]).status(1).stderr(expected).run();
    let expected =
        "error: `make` is not named in devbox.toml but in `[TEST]/project/base.toml`\nhint: edit that file\n";
    test.args(["remove", "make"]).status(1).stderr(expected).run();
}
