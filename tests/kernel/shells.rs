//! What shells of a box tell the terminal, byte by byte; programs that fill the screen; multiplexers.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::terminal::Terminal;

const SHELLS: [&str; 3] = ["/bin/bash", "/usr/bin/zsh", "/usr/bin/fish"];

/// A shell of the project's box, which is named `shop`.
fn enter(test: &Devbox, shell: &str, variables: &[(&str, &str)]) -> Terminal {
    let mut command = test.command(["enter"]);
    command.env("SHELL", shell).env("TERM", "xterm-256color").envs(variables.iter().copied());
    Terminal::spawn(&command, 24, 100)
}

fn shop(more: &str) -> Devbox {
    let test = Devbox::host();
    test.profile(&format!("name = \"shop\"\nbase = \"host\"\n{more}[network]\nmode = \"none\"\n"));
    test
}

/// `file://` and the folder, as the terminal shall know it.
fn folder(test: &Devbox, below: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("\x1b]7;file://{host}{}{below}\x1b\\", test.project().canonicalize().unwrap().display())
}

#[test]
fn terminals_are_told_of_prompts_folders_and_commands() {
    require!(Userns, Overlay, Program("zsh"), Program("fish"));
    let test = shop("");
    fs::create_dir(test.project().join("a é;b")).unwrap();
    let files = "for f in .bashrc .zshrc .config/fish/config.fish; do mkdir -p ~/.config/fish; echo 'echo of-the-user' >~/$f; done";
    test.sh(files).any_stderr().run();
    for shell in SHELLS {
        let mut terminal = enter(&test, shell, &[]);
        let uid = rustix::process::getuid().as_raw();
        let mut at = terminal.wait_for_bytes(0, format!("\x1b]777;container;push;shop;devbox;{uid}\x1b\\"));
        at = terminal.wait_for_bytes(
            at,
            format!("\x1b]666;vte.container.name=shop;vte.container.runtime=devbox;vte.container.uid={uid}\x1b\\"),
        );
        at = terminal.wait_for_bytes(at, "\x1b]3008;start=");
        at = terminal.wait_for_bytes(at, ";type=container;container=shop;");
        at = terminal.wait_for_bytes(at, "of-the-user");
        at = terminal.wait_for_bytes(at, folder(&test, ""));
        at = terminal.wait_for_bytes(at, "\x1b]133;A\x1b\\(shop) ");
        at = terminal.wait_for_bytes(at, "\x1b]133;B\x1b\\");
        terminal.send("false\r");
        at = terminal.wait_for_bytes(at, "\x1b]133;C\x1b\\");
        at = terminal.wait_for_bytes(at, "\x1b]133;D;1\x1b\\");
        at = terminal.wait_for_bytes(at, "\x1b]133;B\x1b\\");
        terminal.send("cd 'a é;b'\r");
        at = terminal.wait_for_bytes(at, "\x1b]133;D;0\x1b\\");
        at = terminal.wait_for_bytes(at, folder(&test, "/a%20%C3%A9%3Bb"));
        at = terminal.wait_for_bytes(at, "\x1b]133;B\x1b\\");
        // Nothing of the host is at this path.
        terminal.send("cd /etc\r");
        let before = at;
        at = terminal.wait_for_bytes(at, "\x1b]133;D;0\x1b\\");
        at = terminal.wait_for_bytes(at, "\x1b]133;B\x1b\\");
        let told = String::from_utf8_lossy(&terminal.written()[before..]).into_owned();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert!(!told.contains(&format!("\x1b]7;file://{host}/")), "{told:?}");
        terminal.send("env | grep -c -e DEVBOX_Z -e DEVBOX_X -e ^ZDOTDIR -e ^XDG_DATA_DIRS=/run; exit 3\r");
        at = terminal.wait_for_bytes(at, "\x1b]133;C\x1b\\");
        at = terminal.wait_for_bytes(at, "0\r\n");
        at = terminal.wait_for_bytes(at, "\x1b]3008;end=");
        terminal.wait_for_bytes(at, format!("\x1b]666;vte.container.\x1b\\\x1b]777;container;pop;;;{uid}\x1b\\"));
        assert_eq!(terminal.wait_exit().code(), Some(3), "{shell}");
    }
}

#[test]
fn vs_code_is_told_the_command_line() {
    require!(Userns, Overlay, Program("zsh"), Program("fish"));
    let test = shop("[env]\nHISTCONTROL = \"\"\n");
    for shell in SHELLS {
        let mut terminal = enter(&test, shell, &[("TERM_PROGRAM", "vscode")]);
        let project = test.project().canonicalize().unwrap();
        let mut at = terminal.wait_for_bytes(0, "\x1b]633;P;HasRichCommandDetection=True\x1b\\");
        at = terminal.wait_for_bytes(at, format!("\x1b]633;P;Cwd={}\x1b\\", project.display()));
        at = terminal.wait_for_bytes(at, "\x1b]633;A\x1b\\");
        at = terminal.wait_for_bytes(at, "\x1b]633;B\x1b\\");
        terminal.send("echo a\\;b\r");
        at = terminal.wait_for_bytes(at, "\x1b]633;E;echo a\\\\\\x3bb\x1b\\\x1b]633;C\x1b\\");
        at = terminal.wait_for_bytes(at, "a;b");
        terminal.wait_for_bytes(at, "\x1b]633;D;0\x1b\\");
        assert!(!String::from_utf8_lossy(terminal.written()).contains("]133;"));
    }
}

#[test]
fn nothing_is_added_where_it_is_not_wanted() {
    require!(Userns, Overlay);
    for (profile, variables) in
        [("terminal_integration = \"off\"\n", [("TERM", "xterm")]), ("", [("TERM", "dumb")]), ("", [("TERM", "linux")])]
    {
        let test = shop(profile);
        let mut terminal = enter(&test, "/bin/bash", &variables);
        terminal.wait_for_text("# ");
        terminal.send("PS1=; PROMPT_COMMAND=; echo done; exit\r");
        assert!(terminal.wait_exit().success());
        let told = String::from_utf8_lossy(terminal.written()).into_owned();
        // The distribution's own prompt may set the title.
        for code in ["\x1b]7", "\x1b]133", "\x1b]666", "\x1b]3008", "(shop)"] {
            assert!(!told.contains(code), "{told:?}");
        }
    }
}

#[test]
fn the_box_says_what_it_is() {
    require!(Userns, Overlay);
    let test = shop("");
    let script = "cat /run/.containerenv; echo $container $TERM_PROGRAM $VTE_VERSION";
    let run = test.sh(script).env("TERM_PROGRAM", "WezTerm").env("VTE_VERSION", "7800").any_stderr();
    run.stdout("engine=\"devbox\"\nname=\"shop\"\ndevbox WezTerm 7800\n").run();
}

#[test]
fn no_byte_is_altered() {
    require!(Userns, Overlay);
    let test = shop("terminal_integration = \"off\"\n");
    // Every byte next to every other, colours, mouse, bracketed paste and an image among them.
    let mut data: Vec<u8> = (0..=255u8).flat_map(|a| (0..=255u8).flat_map(move |b| [a, b])).collect();
    data.extend(
        b"\x1b[38;2;1;2;3m\x1b[?1006h\x1b[200~x\x1b[201~\x1b_Ga=T,f=24,s=1,v=1;AAAA\x1b\\\x1bPq#0;2;0;0;0~-\x1b\\",
    );
    test.file("data", &data);
    let mut terminal =
        test.terminal(["run", "--", "sh", "-c", "stty raw -echo; echo begin; cat data; echo end"], 24, 80);
    let begin = terminal.wait_for_bytes(0, "begin\n");
    let end = terminal.wait_for_bytes(begin + data.len(), "end\n");
    assert!(terminal.written()[begin..end - 4] == data, "{} bytes instead of {}", end - 4 - begin, data.len());
}

#[test]
fn a_mebibyte_is_pasted() {
    require!(Userns, Overlay);
    let test = shop("");
    let line = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopq\r";
    let text = line.repeat((1 << 20) / line.len());
    let mut terminal = test.terminal(["run", "--", "sh", "-c", "stty -echo; echo ready; cat >pasted"], 24, 80);
    terminal.wait_for_text("ready");
    terminal.send(&text);
    terminal.send("\x04");
    assert!(terminal.wait_exit().success());
    assert!(fs::read_to_string(test.project().join("pasted")).unwrap() == text.replace('\r', "\n"));
}

/// A multiplexer with a shell of the box in it.
fn multiplexer(test: &Devbox, mut command: Command) -> Terminal {
    let like = test.command([] as [&str; 0]);
    command.arg(test.path("devbox")).arg("enter").current_dir(test.project()).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("SHELL", "/bin/bash");
    command.env("SCREENDIR", test.path("run"));
    Terminal::spawn(&command, 24, 90)
}

#[test]
fn programs_fill_the_screen_in_tmux() {
    require!(Userns, Overlay, Program("tmux"), Program("vi"), Program("less"), Program("htop"));
    let test = shop("");
    let mut command = Command::new("tmux");
    command.arg("-S").arg(test.path("tmux")).args(["-f", "/dev/null", "new-session"]);
    let mut terminal = multiplexer(&test, command);
    terminal.wait_for_text("(shop) ");
    terminal.send("vi story\r");
    terminal.wait_for_text("~");
    terminal.send("iit was a dark night\x1b:wq\r");
    terminal.wait_for(|screen| screen.contents().matches("(shop) ").count() == 2 && !screen.contents().contains("~\n"));
    terminal.send("less story\r");
    terminal.wait_for_text("it was a dark night");
    terminal.resize(30, 70);
    // The line above that of tmux.
    terminal.wait_for(|screen| screen.contents().lines().nth(28) == Some("(END)"));
    terminal.send("q");
    terminal.wait_for(|screen| !screen.contents().contains("it was a dark night"));
    terminal.send("clear; stty size; htop\r");
    terminal.wait_for_text("Tasks:");
    terminal.send("q");
    terminal.wait_for_text("29 70");
    terminal.send("sh -c 'echo be\"\"gan; exec tail -f /dev/null'\r");
    terminal.wait_for_text("began");
    terminal.send("\x1a");
    terminal.wait_for_text("Stopped");
    terminal.send("kill -9 %1; while [ -n \"$(jobs -s)\" ]; do :; done; exit\r");
    terminal.wait_exit();
}

#[test]
fn a_shell_in_screen() {
    require!(Userns, Overlay, Program("screen"));
    let test = shop("");
    let mut command = Command::new("screen");
    command.args(["-c", "/dev/null"]);
    let mut terminal = multiplexer(&test, command);
    terminal.wait_for_text("(shop) ");
    terminal.send("echo in $DEVBOX-$((1 + 1))\r");
    terminal.wait_for_text("in shop-2");
    terminal.send("exit\r");
    terminal.wait_exit();
}
