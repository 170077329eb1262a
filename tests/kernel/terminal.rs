//! `devbox enter` in a terminal, as a user sees it.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::processes;
use crate::support::terminal::Terminal;

/// A shell whose prompt is `box> ` behind the mark of the box, and which has printed it.
fn enter(test: &Devbox) -> Terminal {
    test.profile("base = \"host\"\nshell = \"/bin/bash\"\n[network]\nmode = \"none\"\n");
    let mut terminal = test.terminal(["enter"], 24, 80);
    terminal.wait_for(|screen| screen.contents().contains("# "));
    terminal.send("PS1='box''> '; clear\n");
    terminal.wait_for(|screen| screen.contents().starts_with("(project) box>"));
    terminal
}

fn gone(test: &Devbox) {
    let left = processes::wait_until_none(&test.path(""));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_shell_with_a_prompt_and_a_status() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = enter(&test);
    terminal.send("tty; id -u; pwd\n");
    terminal.wait_for_text("/dev/pts/");
    terminal.wait_for_text("/project");
    terminal.send("exit 7\n");
    assert_eq!(terminal.wait_exit().code(), Some(7));
    gone(&test);
}

#[test]
fn the_size_follows() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = enter(&test);
    terminal.send("stty size; while [ \"$(stty size)\" = '24 80' ]; do :; done; stty size\n");
    terminal.wait_for(|screen| screen.contents().lines().any(|line| line == "24 80"));
    terminal.resize(40, 100);
    terminal.wait_for_text("40 100");
    terminal.send("exit\n");
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

#[test]
fn ctrl_c_interrupts_the_program_and_not_the_shell() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = enter(&test);
    terminal.send("sh -c 'echo sta''rted; exec tail -f /dev/null'\n");
    terminal.wait_for_text("started");
    terminal.send("\x03");
    terminal.send("echo status $?\n");
    terminal.wait_for_text("status 130");
    terminal.send("exit 3\n");
    assert_eq!(terminal.wait_exit().code(), Some(3));
}

#[test]
fn job_control() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = enter(&test);
    terminal.send("sh -c 'echo sta''rted; exec cat'\n");
    terminal.wait_for_text("started");
    terminal.send("\x1a");
    terminal.wait_for_text("Stopped");
    terminal.send("clear; fg\n");
    // Keys typed before the program has the terminal belong to the shell.
    terminal.wait_for(|screen| screen.contents().starts_with("sh -c"));
    terminal.send("typed in\n");
    terminal.wait_for(|screen| screen.contents().matches("typed in").count() == 2);
    terminal.send("\x04");
    terminal.send("exit 0\n");
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

#[test]
fn the_settings_are_restored() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for signal in [None, Some(Signal::TERM), Some(Signal::HUP)] {
        test.profile("base = \"host\"\nshell = \"/bin/bash\"\n[network]\nmode = \"none\"\n");
        let mut terminal = test.terminal(["enter"], 24, 80);
        terminal.wait_for(|screen| screen.contents().contains("# "));
        assert!(!terminal.is_as_before(), "the terminal is raw while the shell runs");
        match signal {
            None => terminal.send("exit\n"),
            Some(signal) => {
                let pid = Pid::from_raw(i32::try_from(terminal.pid()).expect("a pid")).expect("a pid");
                kill_process(pid, signal).expect("signal a child");
            }
        }
        let status = terminal.wait_exit();
        assert!(terminal.is_as_before(), "{signal:?}: {status}");
        gone(&test);
    }
}

#[test]
fn a_closed_terminal_ends_the_session() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = enter(&test);
    terminal.send("tail -f /dev/null & sh -c 'echo sta''rted; exec tail -f /dev/null'\n");
    terminal.wait_for_text("started");
    terminal.hang_up();
    gone(&test);
}

#[test]
fn run_in_a_terminal() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "stty size; read -r line; echo \"got $line\"; exit 5";
    let mut terminal = test.terminal(["run", "--", "sh", "-c", script], 10, 60);
    terminal.wait_for_text("10 60");
    terminal.send("something\n");
    terminal.wait_for_text("got something");
    assert_eq!(terminal.wait_exit().code(), Some(5));
}

#[test]
fn much_output_arrives_whole() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let mut terminal = test.terminal(["run", "--", "sh", "-c", "seq 1 50000; echo last"], 24, 80);
    assert!(terminal.wait_exit().success());
    terminal.wait_for_text("last");
    assert!(terminal.screen().contents().contains("50000"));
}

#[test]
fn two_panes_of_tmux() {
    require!(Userns, Overlay, Program("tmux"));
    let test = Devbox::host();
    test.profile("base = \"host\"\nshell = \"/bin/bash\"\n[network]\nmode = \"none\"\n");
    let mut tmux = Command::new("tmux");
    // A server of its own, which ends with its last pane.
    tmux.arg("-S").arg(test.path("tmux")).args(["-f", "/dev/null", "new-session"]);
    tmux.arg(format!("{} enter", test.path("devbox").display()));
    tmux.arg(";").args(["split-window"]).arg(format!("{} enter", test.path("devbox").display()));
    let template = test.command(["enter"]);
    tmux.current_dir(test.project()).env_clear();
    tmux.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = Terminal::spawn(&tmux, 30, 100);
    // Each has its prompt; that of the upper one alone may be drawn twice.
    terminal.wait_for(|screen| {
        let screen = screen.contents();
        let lines: Vec<&str> = screen.lines().collect();
        [lines.get(..14), lines.get(15..)].iter().all(|half| half.is_some_and(|half| half.concat().contains("# ")))
    });
    // The lower pane is the active one.
    terminal.send("echo of-the-lower > /tmp/note; stty size\n");
    terminal.wait_for_text("14 100");
    terminal.send("\x02o");
    terminal.send("cat /tmp/note; stty size\n");
    terminal.wait_for(|screen| screen.contents().matches("of-the-lower").count() == 2);
    terminal.wait_for(|screen| screen.contents().matches("14 100").count() == 2);
    terminal.send("exit\n");
    terminal.wait_for(|screen| screen.contents().matches("14 100").count() == 1);
    terminal.send("exit\n");
    assert!(terminal.wait_exit().success());
    gone(&test);
}
