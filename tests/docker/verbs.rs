//! Verbs of docker's that development containers seldom need.

use std::process::Stdio;

use crate::contract::{json, start, text};
use crate::image::{Docker, IMAGE, with_image};
use crate::require;
use crate::support::background::Background;
use crate::support::programs::ended;

/// Waits until the container `name` has written these lines since it was made.
pub fn wait_for_lines(test: &Docker, name: &str, lines: &[&str]) {
    let mut logs = test.command(["docker", "logs", "-f", name]);
    logs.stderr(Stdio::null());
    let mut logs = Background::start(logs);
    lines.iter().for_each(|line| logs.expect(line));
}

#[test]
fn containers_are_made_signalled_and_started_again() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let script = "trap 'exit 5' USR1; echo up; tail -f /dev/null & wait";
    let id = text(&test, &["create", "--name", "shop", "-p", "127.0.0.1:8080:80", IMAGE, "sh", "-c", script]);
    assert_eq!(id.trim_end().len(), 64);
    assert_eq!(
        text(&test, &["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]),
        id.replace('\n', " created\n")
    );
    test.args(["docker", "port", "shop"]).stdout("80/tcp -> 127.0.0.1:8080\n").run();
    test.args(["docker", "port", "shop", "80"]).stdout("127.0.0.1:8080\n").run();
    test.args(["docker", "port", "shop", "80/tcp"]).stdout("127.0.0.1:8080\n").run();
    let missing = "error: the port `80/udp` of `shop` is not published\n";
    test.args(["docker", "port", "shop", "80/udp"]).stderr(missing).status(1).run();
    for option in [&["-t"][..], &["--since", "1m"], &["--until=1"]] {
        let words = [&["docker", "logs"], option, &["shop"]].concat();
        let refused = test.args(words).any_stderr().status(125).run().stderr;
        assert!(refused.contains("is not supported: when a line was written is not kept"), "{refused}");
    }
    test.args(["docker", "logs", "--details", "shop"]).run();
    test.args(["docker", "kill", "shop"]).any_stderr().status(1).run();
    test.args(["docker", "rm", "shop"]).stdout("shop\n").run();

    start(&test, &["--name", "shop"], &["sh", "-c", script]);
    wait_for_lines(&test, "shop", &["up"]);
    let mut waiting = Background::start(test.command(["docker", "wait", "shop"]));
    test.args(["docker", "kill", "-s", "USR1", "shop"]).stdout("shop\n").run();
    waiting.expect("5");
    assert!(waiting.wait().success());

    // Also what does not run is started.
    for lines in [&["up", "up"][..], &["up", "up", "up"]] {
        test.args(["docker", "restart", "-t", "0", "shop"]).stdout("shop\n").run();
        wait_for_lines(&test, "shop", lines);
    }
    let shown = text(&test, &["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    let pids = shown.strip_prefix("shop ").and_then(|pids| pids.trim_end().parse::<u32>().ok());
    assert!(pids.is_some_and(|pids| pids > 0), "{shown:?}");
    let mut shown = Background::start(test.command(["docker", "stats", "--format", "{{.Name}}"]));
    (0..2).for_each(|_| assert_eq!(shown.line(), "shop"));
    test.args(["docker", "kill", "shop"]).stdout("shop\n").run();
    assert!(shown.wait().success(), "it ends when nothing runs");
    let state = &json(&test, &["inspect", "shop"])[0]["State"];
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &137.into()));
    test.args(["docker", "wait", "shop"]).stdout("137\n").run();
    assert_eq!(text(&test, &["stats", "--no-stream", "--format", "{{.Name}}"]), "");
}

#[test]
fn commands_run_in_the_background() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    start(&test, &["--name", "shop"], &[]);
    test.args(["docker", "exec", "shop", "mkfifo", "/tmp/gate"]).run();
    test.args(["docker", "exec", "-d", "-w", "/bin", "shop", "sh", "-c", "pwd >/tmp/gate"]).run();
    test.args(["docker", "exec", "shop", "cat", "/tmp/gate"]).stdout("/bin\n").run();
    test.args(["docker", "exec", "-d", "shop", "no-such-program"]).any_stderr().status(127).run();
}

#[test]
fn a_command_starts_in_the_folder_that_was_named() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let run = |folder: &str| test.args(["docker", "run", "--rm", "-w", folder, IMAGE, "pwd"]);
    run("/made/dir").stdout("/made/dir\n").run();
    let refused = run("rel").any_stderr().status(125).run().stderr;
    assert!(refused.contains("`--workdir rel`: the working directory needs to be an absolute path"), "{refused}");
    start(&test, &["--name", "shop", "-w", "/made"], &[]);
    test.args(["docker", "exec", "shop", "pwd"]).stdout("/made\n").run();
    test.args(["docker", "exec", "-w", "rel", "shop", "pwd"]).any_stderr().status(125).run();
    let refused = test.args(["docker", "exec", "-w", "/nope", "shop", "pwd"]).any_stderr().status(126).run().stderr;
    assert!(refused.contains("cannot run `pwd`: chdir `/nope`"), "{refused}");
}

#[test]
fn what_is_wrong_is_named() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    start(&test, &["--name", "shop"], &[]);
    let foreign = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };
    for (words, status, sentence) in [
        (&["build", "--bogus", "."][..], 125, "'--bogus'"),
        (&["build", "--squash", "-q", "."], 125, "'--squash'"),
        (&["cp", "-L", "a", "shop:/b"], 125, "'-L'"),
        (&["cp", "shop:/nope", "x"], 1, "no such file in the container: /nope"),
        (&["run", "--rm", IMAGE, "nosuch"], 127, "hint: the program must be in the image"),
        (&["run", "--cap-add", "NOSUCH", IMAGE], 125, "`--cap-add NOSUCH`: there is no such capability"),
        (&["run", "-p", "abc", IMAGE], 125, "`--publish abc`: "),
        (&["run", "--platform", foreign, IMAGE, "true"], 125, "the image is for linux/"),
        (&["ps", "--filter", "name=("], 125, "`--filter name=(`: this is no regular expression"),
    ] {
        let said = test.args([&["docker"], words].concat()).any_stderr().status(status).run().stderr;
        assert!(said.contains(sentence) && !said.contains("[tasks]") && !said.contains("archive"), "{words:?}: {said}");
    }
    assert_eq!(text(&test, &["ps", "--filter", "name=^/?sh.p$", "--format", "{{.Names}}"]), "shop\n");
    assert_eq!(text(&test, &["ps", "--filter", "name=^hop", "--format", "{{.Names}}"]), "");
    assert_eq!(
        text(&test, &["ps", "--filter", &format!("ancestor={IMAGE}:latest"), "--format", "{{.Names}}"]),
        "shop\n"
    );
    test.args(["docker", "stop", "-t", "0", "shop"]).stdout("shop\n").run();
    let said = test.args(["docker", "cp", "shop:/bin", "x"]).any_stderr().status(1).run().stderr;
    assert!(said.contains("is not running") && !said.contains("archive"), "{said}");
}

#[test]
fn a_root_may_be_read_only_and_memory_mounted() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let script = "touch /home/x 2>/dev/null || echo closed; touch /tmp/x /run/x /memory/x /data/x && echo open
        stat -c %a /memory; grep -c ' /memory tmpfs ' /proc/mounts";
    let options = ["--read-only", "--tmpfs", "/memory:size=1m,mode=700", "--tmpfs", "/run", "-v", "data:/data"];
    let words = [&["docker", "run", "--rm"][..], &options, &[IMAGE, "sh", "-c", script]].concat();
    test.args(words).stdout("closed\nopen\n700\n1\n").run();
    test.args([
        "docker",
        "run",
        "--rm",
        "--mount",
        "type=tmpfs,target=/home/m",
        IMAGE,
        "touch",
        "/home/m/x",
        "/home/x",
    ])
    .run();
    let refused = test.args(["docker", "run", "--rm", "--tmpfs", "/t:uid=5", IMAGE]).any_stderr().status(125).run();
    assert!(refused.stderr.contains("`uid` of a `tmpfs` is not supported"), "{}", refused.stderr);
}

#[test]
fn a_quiet_build_prints_the_id() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    let (file, context) = (test.path("id"), test.path("image"));
    let build = test.args(["docker", "build", "-q", "-t", "again:1", "--iidfile"]).arg(&file).arg(context);
    let printed = build.any_stdout().stderr("").run().stdout;
    let written = std::fs::read_to_string(file).expect("a file");
    assert_eq!(printed, format!("{written}\n"));
    assert_eq!(text(&test, &["inspect", "-f", "{{.Id}}", "again:1"]), format!("{written}\n"));

    // And what a step said that fails.
    test.file("Dockerfile", format!("FROM {IMAGE}\nRUN true\nRUN echo said; exit 3\n"));
    let failed = test.args(["docker", "build", "-q", "."]).any_stderr().status(1).run().stderr;
    assert!(failed.contains("said\n") && !failed.contains("RUN true"), "{failed}");
}

/// Opens a file of a container, adds a line and saves it. What the method says is what TRAMP has of its own since Emacs 29.
const EDIT: &str = r#"
(require 'tramp)
(add-to-list 'tramp-methods
  '("docker" (tramp-login-program "docker") (tramp-login-args (("exec" "-it") ("-u" "%u") ("%h") ("/bin/sh")))
    (tramp-remote-shell "/bin/sh") (tramp-remote-shell-args ("-i" "-c"))))
(setq vc-handled-backends nil)
(find-file "/docker:dev@shop:/home/dev/note")
(princ (buffer-string))
(goto-char (point-max))
(insert "of-emacs\n")
(save-buffer)
"#;

#[test]
fn emacs_edits_a_file_of_a_container() {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("emacs"));
    let test = with_image();
    start(&test, &["--name", "shop"], &[]);
    let note = |script: &str| text(&test, &["exec", "-u", "dev", "-w", "/home/dev", "shop", "sh", "-c", script]);
    note("echo of-the-box >note");
    std::fs::write(test.path("edit.el"), EDIT).expect("a file");
    std::fs::create_dir(test.path("bin")).expect("a directory");
    std::os::unix::fs::symlink(test.path("devbox"), test.path("bin/docker")).expect("a link");
    let mut emacs = test.program("emacs");
    emacs.env("PATH", format!("{}:/usr/bin:/bin", test.path("bin").display()));
    emacs.args(["--batch", "-q", "-l"]).arg(test.path("edit.el"));
    let (status, out, errors) = ended(emacs, b"");
    assert_eq!((status, out.as_str()), (0, "of-the-box\n"), "{errors}");
    assert_eq!(note("cat note"), "of-the-box\nof-emacs\n");
}
