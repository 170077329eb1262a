//! The tests' own tools: a terminal that shows nothing, or a requirement that is always met, would hide every fault.

#[allow(dead_code, reason = "each test executable uses a part of it")]
mod support;

use std::process::{Command, Stdio};
use std::time::Instant;

use support::PATIENCE;
use support::devbox::Devbox;
use support::processes::{belonging_to, end_by, wait_end};
use support::terminal::Terminal;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
    command
}

#[test]
fn a_terminal_shows_what_is_typed_and_its_size() {
    let mut terminal =
        Terminal::spawn(&shell("test -t 0 && stty size && read line && echo got:$line; stty size"), 24, 80);
    terminal.wait_for_text("24 80");
    terminal.resize(30, 100);
    terminal.send("hello\n");
    terminal.wait_for(|screen| screen.contents().contains("got:hello"));
    terminal.wait_for_text("30 100");
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

#[test]
fn a_terminal_is_the_controlling_one() {
    let mut terminal = Terminal::spawn(&shell("trap 'echo interrupted; exit 3' INT; echo ready; read line"), 24, 80);
    terminal.wait_for_text("ready");
    terminal.send("\x03");
    terminal.wait_for_text("interrupted");
    assert_eq!(terminal.wait_exit().code(), Some(3));
}

#[test]
fn much_output_before_the_end_is_read() {
    let mut terminal = Terminal::spawn(&shell("seq 1 20000"), 24, 80);
    assert!(terminal.wait_exit().success());
    assert!(terminal.screen().contents().contains("20000"));
}

#[test]
fn closing_a_terminal_hangs_up() {
    let mut terminal = Terminal::spawn(&shell("echo ready; exec cat"), 24, 80);
    terminal.wait_for_text("ready");
    assert!(!terminal.hang_up().success());
}

#[test]
fn processes_left_behind_are_found_and_killed() {
    let test = Devbox::new();
    let marker = test.path("");
    let mut by_environment =
        Command::new("tail").args(["-f", "/dev/null"]).env("HOME", test.home()).spawn().expect("tail");
    let script = format!(": {}; read line", marker.display());
    let mut by_argument = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh");
    let found = belonging_to(&marker);
    for pid in [by_environment.id(), by_argument.id()] {
        assert!(found.iter().any(|process| process.pid == pid), "{found:?}");
    }
    let left = end_by(&marker, Instant::now());
    assert!(left.len() >= 2, "{left:?}");
    let deadline = Instant::now() + PATIENCE;
    assert!(left.iter().all(|process| wait_end(process.pid, deadline)));
    assert!(!by_environment.wait().expect("reap").success());
    assert!(!by_argument.wait().expect("reap").success());
    assert!(belonging_to(&marker).is_empty());
}

#[test]
fn a_test_has_a_home_of_its_own() {
    let (one, other) = (Devbox::new(), Devbox::new());
    assert_ne!(one.home(), other.home());
    one.profile("base = \"host\"\n").file("src/main.c", "int main;\n");
    assert!(one.project().join("src/main.c").exists() && one.project().join("devbox.toml").exists());
    assert!(one.boxes().is_empty());
}

#[test]
fn the_name_of_a_test_is_its_function() {
    assert_eq!(test_name!(), "harness::the_name_of_a_test_is_its_function");
}
