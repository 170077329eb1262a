//! Projects with a devcontainer file in place of a `devbox.toml`.

use std::process::Command;

use crate::support::background::Background;
use crate::support::devbox::{Devbox, Output};
use crate::support::registry::Registry;

/// A project whose image has the user `node`, with an id that no other image here has.
fn with_image() -> Devbox {
    let test = Devbox::new();
    test.root_with_busybox("img/root");
    test.file("img/root/etc/passwd", "root:x:0:0::/root:/bin/sh\nnode:x:1234:1234::/home/node:/bin/sh\n");
    test.file("img/root/etc/group", "root:x:0:\nnode:x:1234:\n");
    let file = "FROM scratch\nCOPY root/ /\nRUN [\"mkdir\", \"-p\", \"/home/node\"]\n\
                RUN [\"/bin/busybox\", \"chown\", \"1234:1234\", \"/home/node\"]\n";
    test.file("img/Containerfile", file);
    test.args(["image", "build", "-t", "localhost/node", "img"]).any_stdout().any_stderr().run();
    test
}

fn run(test: &Devbox, script: &str, status: i32) -> Output {
    test.sh(script).any_stdout().any_stderr().status(status).run()
}

/// What hooks printed, in its order: what devbox says of its own work is left out.
fn said(output: &Output) -> Vec<&str> {
    output.stderr.lines().filter(|line| !line.starts_with("devbox: unpacking")).collect()
}

#[test]
fn a_user_of_the_image_and_hooks_in_their_order() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.file(
        ".devcontainer/devcontainer.json",
        r#"{ // JSON with comments
            "image": "localhost/node", "remoteUser": "node",
            "containerEnv": {"A": "${localWorkspaceFolderBasename}"},
            "remoteEnv": {"P": "${containerEnv:PATH}:/more", "W": "${containerWorkspaceFolder}"},
            "mounts": ["source=data,target=/data,type=volume"],
            "postAttachCommand": "echo attach", "postStartCommand": "echo start",
            "postCreateCommand": {"one": "echo p", "two": ["echo", "p"]},
            "updateContentCommand": ["echo", "update  content"], "onCreateCommand": "echo create; id -u",
        }"#,
    );
    // The host's root stays root in the box: then the user is somebody else there.
    std::fs::set_permissions(test.project(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let first = run(&test, "id -u; pwd; echo $A $P $W $HOME; touch ~/own", 0);
    assert_eq!(said(&first), ["create", "1234", "update  content", "p", "p", "start", "attach"]);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/more";
    let expected = format!("1234\n/workspaces/project\nproject {path} /workspaces/project /home/node\n");
    assert_eq!(first.stdout, expected);
    let root = rustix::process::getuid().is_root();
    if !root {
        run(&test, "touch made /data/kept", 0);
        // What is made in the project belongs to whoever ran devbox.
        let made = std::fs::metadata(test.project().join("made")).expect("a file of the project");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), rustix::process::getuid().as_raw());
    }
    let again = run(&test, "ls /data", 0);
    assert_eq!((said(&again), again.stdout.as_str()), (vec!["start", "attach"], if root { "" } else { "kept\n" }));
    let without = test.args(["run", "--no-hooks", "--", "true"]).run();
    assert_eq!(without.stderr, "");
}

#[test]
fn a_hook_that_fails_is_named_and_the_last() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let file = |command: &str| {
        let text = r#"{"image": "localhost/node", "onCreateCommand": "echo one", "updateContentCommand": COMMAND,
                       "postStartCommand": "echo never"}"#;
        test.file(".devcontainer.json", text.replace("COMMAND", command));
    };
    file("\"exit 3\"");
    let failed = run(&test, "echo never", 125);
    assert_eq!(said(&failed), ["one", "devbox: the updateContentCommand failed with status 3"]);
    assert_eq!(failed.stdout, "");
    file(r#"{"quick": "exit 4", "slow": "echo slow"}"#);
    let failed = run(&test, "true", 125);
    let mut lines = said(&failed);
    lines.sort_unstable();
    let sentences = [
        "devbox: the updateContentCommand failed with status 4",
        "devbox: updateContentCommand.quick failed with status 4",
    ];
    // What has succeeded is not done again.
    assert_eq!(lines, [sentences[0], sentences[1], "slow"]);
    file("\"true\"");
    assert_eq!(said(&run(&test, "true", 0)), ["never"]);
}

#[test]
fn the_image_of_a_registry_and_a_build_on_it() {
    crate::require!(Userns, Overlay, Program("busybox"), Program("docker-registry"));
    let registry = Registry::start();
    let name = format!("{}/node:1", registry.name());
    let publisher = with_image();
    publisher.args(["image", "push", "localhost/node", &name]).any_stdout().any_stderr().run();
    let test = Devbox::new();
    test.file(".devcontainer/pulled/devcontainer.json", format!("{{\"image\": \"{name}\", \"remoteUser\": \"node\"}}"));
    test.file(
        ".devcontainer/built/devcontainer.json",
        r#"{"build": {"dockerfile": "File", "context": "..", "args": {"WHAT": "built"}}, "remoteUser": "node"}"#,
    );
    test.file(
        ".devcontainer/built/File",
        format!("FROM {name}\nARG WHAT\nRUN [\"sh\", \"-c\", \"echo $WHAT > /made\"]\n"),
    );
    let several = test.sh("true").status(125).any_stderr().run().stderr;
    assert!(several.contains("built, pulled") && several.contains("--devcontainer"), "{several}");
    for (which, expected) in [("pulled", "1234\n"), ("built", "1234\nbuilt\n")] {
        let script = ["--", "sh", "-c", "id -u; if test -e /made; then cat /made; fi"];
        let run = script.iter().fold(test.args(["run", "--devcontainer", which]), |run, word| run.arg(word));
        assert_eq!(run.any_stdout().any_stderr().run().stdout, expected, "{which}");
        // The choice is remembered.
        assert_eq!(
            test.sh("id -u; if test -e /made; then cat /made; fi").any_stdout().any_stderr().run().stdout,
            expected
        );
        test.args(["rm", "--force"]).any_stdout().any_stderr().run();
    }
}

#[test]
fn what_concerns_the_host_is_asked_for() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let mut test = with_image();
    test.env("TOKEN", "secret");
    test.file(
        ".devcontainer.json",
        r#"{"image": "localhost/node", "initializeCommand": "echo host > made", "containerEnv": {"T": "${localEnv:TOKEN}"},
            "mounts": [{"type": "bind", "source": "${localEnv:HOME}", "target": "/h"}], "capAdd": ["SYS_NICE"]}"#,
    );
    let refused = run(&test, "true", 125);
    for wish in [
        "run `echo host > made` on the host, as you",
        "read the environment variable `TOKEN`",
        "read and change `[TEST]/home` of the host, as `/h`",
        "have the capability `CAP_SYS_NICE`",
    ] {
        assert!(refused.stderr.contains(wish), "{wish}: {}", refused.stderr);
    }
    assert!(!test.project().join("made").exists());
    test.args(["profile", "trust"]).any_stdout().run();
    assert_eq!(run(&test, "echo $T; cat made", 0).stdout, "secret\nhost\n");
    test.file(".devcontainer.json", r#"{"image": "localhost/node", "initializeCommand": "exit 5"}"#);
    test.args(["profile", "trust"]).any_stdout().run();
    let failed = run(&test, "true", 125);
    assert!(failed.stderr.contains("the initializeCommand failed with status 5"), "{}", failed.stderr);
}

#[test]
fn there_and_back() {
    let test = Devbox::new();
    let file = r#"{"image": "debian:12", "remoteUser": "node", "containerEnv": {"A": "1", "TOKEN": "${localEnv:TOKEN}"},
                   "capAdd": ["SYS_NICE"], "runArgs": ["--memory=2g"], "appPort": 80, "postCreateCommand": ["make", "a b"]}"#;
    test.file(".devcontainer/devcontainer.json", file);
    let shown = test.args(["import", "--print"]).any_stdout().run().stdout;
    assert!(!test.project().join("devbox.toml").exists());
    let said = "wrote devbox.toml from .devcontainer/devcontainer.json; it counts instead of that from now on\n";
    test.args(["import"]).stdout(said).run();
    assert_eq!(std::fs::read_to_string(test.project().join("devbox.toml")).expect("a profile"), shown);
    let error = test.args(["import"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("exists") && error.contains("--force"), "{error}");
    let text = test.args(["export", "devcontainer"]).any_stdout().run().stdout;
    let text = text.strip_prefix("// the user `node` must be one of the image\n").expect("what is left out");
    let exported: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let expected = serde_json::json!({
        "name": "project", "image": "debian:12", "remoteUser": "node",
        "containerEnv": {"A": "1", "TOKEN": "${localEnv:TOKEN}"},
        "workspaceMount": "source=${localWorkspaceFolder},target=/workspaces/project,type=bind",
        "workspaceFolder": "/workspaces/project",
        "capAdd": ["SYS_NICE"], "runArgs": ["--memory=2147483648b"], "appPort": [80], "postCreateCommand": "make 'a b'",
    });
    assert_eq!(exported, expected);
    let text = test.args(["export", "containerfile"]).any_stdout().run().stdout;
    assert_eq!(text, "FROM debian:12\nENV A=\"1\"\nWORKDIR /workspaces/project\nUSER node\n");
    // What is exported is read as the same.
    std::fs::remove_file(test.project().join("devbox.toml")).expect("a file");
    test.file(".devcontainer/devcontainer.json", exported.to_string());
    assert_eq!(test.args(["import", "--print"]).any_stdout().run().stdout, shown);
    let error = test.args(["export", "devcontainer"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("has a devcontainer file already") && error.contains("devbox import"), "{error}");
    test.file(".devcontainer/devcontainer.json", r#"{"image": "debian:12", "features": {"./own": {}}}"#);
    let text = test.args(["export", "containerfile"]).any_stdout().run().stdout;
    assert_eq!(text, "# the Feature ./own is left out\nFROM debian:12\nWORKDIR /workspaces/project\n");
    test.profile("base = \"host\"\n");
    let error = test.args(["export", "devcontainer"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("the base `host` is no image"), "{error}");
}

#[test]
fn two_sessions_run_what_is_to_run_once_one_after_the_other() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.file(
        ".devcontainer.json",
        r#"{"image": "localhost/node", "remoteUser": "node", "onCreateCommand": "echo once >> /tmp/log; read go < /tmp/go",
            "postStartCommand": "echo start >> /tmp/log", "postAttachCommand": "echo attach >> /tmp/log"}"#,
    );
    let mut holder = test.background_with(&["--no-hooks"], "mkfifo /tmp/go; echo ready; read end");
    holder.expect("ready");
    let mut first = test.background("echo first");
    // It is in its hook when somebody writes what that reads.
    let mut teller = test.background_with(&["--no-hooks"], "exec 3>/tmp/go; echo there; read go; echo go >&3");
    teller.expect("there");
    let run = test.command(["run", "--", "echo", "second"]);
    let mut both = Command::new("/bin/sh");
    both.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(run.get_program()).args(run.get_args());
    both.current_dir(test.project()).env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut second = Background::start(both);
    second.expect("devbox: waiting for the hooks of another session");
    teller.say("go");
    first.expect("first");
    second.expect("second");
    let log = test.args(["run", "--no-hooks", "--", "cat", "/tmp/log"]).any_stderr().any_stdout().run().stdout;
    assert_eq!(log.matches("once").count(), 1, "{log}");
    assert_eq!(log.matches("start").count(), 1, "{log}");
    assert_eq!(log.matches("attach").count(), 2, "{log}");
    assert!(log.starts_with("once\nstart\n"), "{log}");
    assert!(first.wait().success() && second.wait().success() && teller.wait().success());
    holder.say("end");
    assert!(holder.wait().success());
}

#[test]
fn secrets_are_asked_for_and_kept_nowhere() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let mut test = with_image();
    test.file(
        ".devcontainer.json",
        r#"{"image": "localhost/node", "postAttachCommand": "echo attached",
            "secrets": {"TOKEN": {"description": "of the shop", "documentationUrl": "https://shop.test"}}}"#,
    );
    let refused = run(&test, "true", 125);
    assert!(refused.stderr.contains("read the environment variable `TOKEN`"), "{}", refused.stderr);
    test.args(["profile", "trust"]).any_stdout().run();
    // Who is not there to answer is not asked.
    assert_eq!(run(&test, "echo [$TOKEN]", 0).stdout, "[]\n");
    let mut terminal = test.terminal(["enter"], 24, 80);
    terminal.wait_for_text("devbox: TOKEN: of the shop");
    terminal.wait_for_text("https://shop.test");
    terminal.wait_for_text("TOKEN (Enter leaves it out):");
    terminal.send("typed-secret\r");
    terminal.wait_for_text("attached");
    assert!(!terminal.screen().contents().contains("typed-secret"));
    terminal.send("echo [$TOKEN]\r");
    terminal.wait_for_text("[typed-secret]");
    terminal.send("exit\r");
    assert!(terminal.wait_exit().success());
    assert_eq!(run(&test, "echo [$TOKEN]", 0).stdout, "[]\n");
    let found =
        Command::new("grep").args(["-r", "-l", "-s", "typed-secret"]).arg(test.path("")).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    test.env("TOKEN", "given");
    assert_eq!(run(&test, "echo [$TOKEN]", 0).stdout, "[given]\n");
}

#[test]
fn the_image_of_a_devcontainer_folder_carries_what_its_file_says() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.file("first/File", "FROM localhost/node\nENV FIRST=1\n");
    test.file(
        "first/.devcontainer.json",
        r#"{"build": {"dockerfile": "File"}, "remoteUser": "node", "postCreateCommand": "echo of the first",
            "runArgs": ["--cpus=1"]}"#,
    );
    test.file("second/.devcontainer.json", r#"{"image": "localhost/first", "postStartCommand": "echo of the second"}"#);
    for name in ["first", "second"] {
        test.args(["image", "build", "-t", &format!("localhost/{name}"), name]).any_stdout().any_stderr().run();
    }
    let label = test.args(["image", "inspect", "localhost/second"]).any_stdout().run().stdout;
    assert!(label.contains("devcontainer.metadata") && !label.contains("cpus"), "{label}");
    // What images carry along comes through a build on them as well.
    test.file("File", "FROM localhost/second\n");
    test.file(".devcontainer.json", r#"{"build": {"dockerfile": "File"}}"#);
    let first = run(&test, "id -u; echo $FIRST", 0);
    assert_eq!((said(&first), first.stdout.as_str()), (vec!["of the first", "of the second"], "1234\n1\n"));
    let refused = test.args(["image", "build", "--target", "x", "second"]).status(1).any_stderr().run().stderr;
    assert!(refused.contains("`--target` is for Containerfiles"), "{refused}");
}

#[test]
fn what_cannot_be_entered_is_said() {
    let test = Devbox::new();
    for (text, expected) in [
        (r#"{"image": "localhost/none"}"#, "localhost/none"),
        (r#"{"extends": "./other.json"}"#, "`extends` is not supported"),
        (r#"{"dockerComposeFile": "compose.yml"}"#, "Docker Compose files are not supported"),
        (r#"{"image": "${unknown:x}"}"#, "${unknown:x}"),
        (r#"{"image": "a", "secrets": {"A B": {}}}"#, "A B"),
        (r#"{"image": "a", "portsAttributes": {"1": {"onAutoForward": "never"}}}"#, "unknown value of `onAutoForward`"),
    ] {
        test.file(".devcontainer.json", text);
        let refused = run(&test, "true", 125);
        assert!(refused.stderr.contains(expected), "{text}: {}", refused.stderr);
    }
    assert!(test.boxes().is_empty());
}
