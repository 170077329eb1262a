//! What was typed: help, version, mistakes, colours.

use std::path::Path;
use std::process::Command;

use crate::support::binary;
use crate::support::devbox::Devbox;

#[test]
fn help_and_version_are_no_errors() {
    let test = Devbox::new();
    test.args(["--help"]).any_stdout().run();
    test.args(["run", "--help"]).any_stdout().run();
    test.args(["--version"]).stdout(format!("devbox {}\n", env!("CARGO_PKG_VERSION"))).run();
}

#[test]
fn a_renamed_copy_is_the_program_and_a_link_is_a_shim() {
    let test = Devbox::new();
    let (copy, link) = (test.path("copy"), test.path("link"));
    // By a program of its own: a file that this one has open for writing could not be executed.
    assert!(Command::new("cp").arg(binary()).arg(&copy).status().expect("cp").success());
    std::os::unix::fs::symlink(&copy, &link).expect("a link");
    let output = |program: &Path| Command::new(program).arg("--version").current_dir("/").output().expect("run it");
    assert!(output(&copy).stdout.starts_with(b"devbox "));
    let refused = String::from_utf8_lossy(&output(&link).stderr).into_owned();
    assert!(refused.contains("`link` runs in the box of a project, and `/` is in none"), "{refused}");
}

#[test]
fn help_about_topics_and_commands() {
    let test = Devbox::new();
    let shown = |words: &[&str]| test.args(["help"].iter().chain(words)).any_stdout().run().stdout;
    for (words, expected) in [
        (&["networks"][..], "The network of a box\n\n  Ports"),
        (&["network"], "The network of a box\n"),
        (&["limits"], "Limits\n\n"),
        (&["profile"], "Look at profiles\n"),
        (&["snapshot", "create"], "Keep the state of a box under a name\n\nUsage: devbox snapshot create "),
        (&[], "A rootless sandbox for developer environments\n\n"),
    ] {
        assert!(shown(words).starts_with(expected), "{words:?}\n{}", shown(words));
    }
    assert!(shown(&["limits"]).ends_with("`devbox limits --help`\n"), "a word that is both names the other");
    for (words, expected) in [
        (&["netwroks"][..], "error: there is no command and no topic `netwroks`\nhint: did you mean `networks`?\n"),
        (&["snapshot", "creat"], "error: `devbox snapshot` has no command `creat`\nhint: did you mean `create`?\n"),
        (
            &["image", "x\x1b"],
            "error: `devbox image` has no command `x\\u{1b}`\nhint: `devbox help image` shows what it has\n",
        ),
    ] {
        test.args(["help"].iter().chain(words)).stderr(expected).status(2).run();
    }
    let unknown = test.args(["help", "frobnicate"]).any_stderr().status(2).run().stderr;
    assert!(unknown.contains("`profiles`, `images`"), "{unknown}");
}

#[test]
fn help_in_a_terminal_has_a_pager() {
    let mut test = Devbox::new();
    // It is a shell's line, and gets the whole page.
    test.env("PAGER", "grep -c . && cat");
    let mut terminal = test.terminal(["help", "limits"], 24, 80);
    terminal.wait_exit();
    let number = terminal.screen().contents();
    assert!(number.trim().parse::<u32>().is_ok_and(|lines| lines > 20), "{number}");
    // Without it, or where it is missing, the page is there all the same.
    for pager in ["", "cat", "/nonexistent/pager"] {
        test.env("PAGER", pager);
        let mut terminal = test.terminal(["help", "limits"], 24, 80);
        terminal.wait_exit();
        assert!(terminal.screen().contents().contains("devbox limits --help"), "{pager}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let test = Devbox::new();
    for (args, expected) in [
        (&["frobnicate"][..], "error: unrecognized subcommand 'frobnicate'\n"),
        (&["lists"], "error: unrecognized subcommand 'lists'\n\n  tip: "),
        (&["run"], "error: the following required arguments were not provided:\n"),
        (&["list", "--format", "yaml"], "error: invalid value 'yaml' for '--format <FORMAT>'\n"),
        (&["run", "--network", "some", "--", "true"], "error: invalid value 'some' for '--network <MODE>'\n"),
        (&["run", "--rm", "--keep", "--", "true"], "error: the argument '--rm' cannot be used with '--keep'\n"),
        (&["stop", "--all", "shop"], "error: the argument '--all' cannot be used with '[NAME]'\n"),
        (&["stop", "--time", "-1"], "error: "),
        (&["completions", "tcsh"], "error: invalid value 'tcsh' for '<SHELL>'\n"),
    ] {
        let output = test.args(args).any_stderr().status(2).run();
        assert!(output.stderr.starts_with(expected), "{args:?}\n{}", output.stderr);
    }
}

#[test]
fn a_mistyped_command_is_answered_with_the_nearest() {
    let output = Devbox::new().args(["snapshto"]).any_stderr().status(2).run();
    assert!(output.stderr.contains("'snapshot'"), "{}", output.stderr);
}

#[test]
fn both_ways_of_run_are_shown() {
    let output = Devbox::new().args(["run"]).any_stderr().status(2).run();
    let usage = "devbox run [OPTIONS] <TASK> [-- ARGUMENTS...]\n       devbox run [OPTIONS] -- <COMMAND>...\n";
    assert!(output.stderr.contains(usage), "{}", output.stderr);
}

#[test]
fn pipes_get_no_escape_sequences() {
    let test = Devbox::new();
    test.profile("pakages = []\n");
    for args in [
        &["profile", "check"][..],
        &["frobnicate"],
        &["list"],
        &["--help"],
        &["status"],
        &["doctor"],
        &["profile", "show"],
    ] {
        let output = test.args(args).output();
        assert!(!output.stdout.contains('\x1b') && !output.stderr.contains('\x1b'), "{args:?}\n{output:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let test = Devbox::new();
    let mut command = test.command(["profile", "schema"]);
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("run the binary");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn terminals_get_colours_unless_told_otherwise() {
    let mut test = Devbox::new();
    test.profile("pakages = []\n");
    for (variable, is_coloured) in [(None, true), (Some("NO_COLOR"), false)] {
        if let Some(name) = variable {
            test.env(name, "1");
        }
        let mut terminal = test.terminal(["profile", "check"], 24, 200);
        terminal.wait_exit();
        let cell = terminal.screen().cell(0, 0).expect("a cell");
        assert_eq!(cell.contents(), "e");
        assert_eq!(cell.fgcolor() != vt100::Color::Default, is_coloured, "{variable:?}");
    }
}
