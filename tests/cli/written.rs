//! Files that the commands write: a profile, completions, manual pages.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::devbox::Devbox;

#[test]
fn init_writes_a_profile_that_is_valid() {
    for (files, said) in [
        (&[][..], ""),
        (&["Cargo.toml"], " for rust"),
        (&["package.json"], " for node"),
        (&["go.mod"], " for go"),
        (&["pyproject.toml"], " for python"),
    ] {
        let test = Devbox::new();
        for file in files {
            test.file(file, "");
        }
        test.args(["init"]).stdout(format!("wrote devbox.toml{said}; `devbox enter` opens the box\n")).run();
        test.args(["profile", "check"]).run();
        let text = fs::read_to_string(test.project().join("devbox.toml")).expect("read the profile");
        assert!(text.contains("\nname = \"project\"\n"), "{text}");
    }
}

#[test]
fn init_replaces_nothing_unasked() {
    let test = Devbox::new();
    test.profile("# mine\n");
    let refused = "error: `[TEST]/project/devbox.toml` exists\nhint: `devbox init --force` replaces it\n";
    test.args(["init"]).status(1).stderr(refused).run();
    assert_eq!(fs::read_to_string(test.project().join("devbox.toml")).expect("read"), "# mine\n");
    test.args(["init", "--force"]).any_stdout().run();
    assert_ne!(fs::read_to_string(test.project().join("devbox.toml")).expect("read"), "# mine\n");
}

#[test]
fn init_does_not_write_through_a_link() {
    let test = Devbox::new();
    test.file("elsewhere", "theirs");
    symlink("elsewhere", test.project().join("devbox.toml")).expect("a link");
    test.args(["init"]).status(1).any_stderr().run();
    test.args(["init", "--force"]).any_stdout().run();
    assert_eq!(fs::read_to_string(test.project().join("elsewhere")).expect("read"), "theirs");
}

#[test]
fn completions_are_those_in_the_repository() {
    let test = Devbox::new();
    for (shell, committed) in [
        ("bash", include_str!("../../shell-completions/devbox.bash")),
        ("zsh", include_str!("../../shell-completions/_devbox")),
        ("fish", include_str!("../../shell-completions/devbox.fish")),
    ] {
        let script = test.args(["completions", shell]).any_stdout().run().stdout;
        assert!(script == committed, "`make completions` brings shell-completions/ up to date ({shell})");
    }
}

#[test]
fn completions_name_commands_and_tasks() {
    let test = Devbox::new();
    test.profile("[tasks]\nstage = \"true\"\n");
    for (words, expected) in [(&["devbox", "sna"][..], "snapshot"), (&["devbox", "run", "st"], "stage")] {
        let index = (words.len() - 1).to_string();
        let output = test
            .args(["--"])
            .arg(words[0])
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", &index)
            .env("_CLAP_IFS", "\n");
        let output = words[1..].iter().fold(output, |run, word| run.arg(word)).output();
        assert!(output.stdout.lines().any(|line| line == expected), "{words:?}\n{output:?}");
    }
}

#[test]
fn man_writes_a_page_for_each_command() {
    let test = Devbox::new();
    // The directory is made, and belongs to no option of the same name.
    test.args(["man", "pages/man"]).run();
    test.args(["-C", "pages", "man", "other"]).run();
    for directory in ["pages/man/man1", "pages/other/man1"] {
        for page in ["devbox.1", "devbox-run.1", "devbox-snapshot-create.1"] {
            let text = fs::read_to_string(test.project().join(directory).join(page)).expect(page);
            assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}");
        }
    }
    let refused = "error: cannot write `/dev/null/x/man1/devbox.1`: Not a directory (os error 20)\n\
                   hint: `devbox man DIR` writes below any directory that you may write to\n";
    test.args(["man", "/dev/null/x"]).status(1).stderr(refused).run();
}
