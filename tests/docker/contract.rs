//! What programs call, and the shape of what they get back.

use serde_json::Value;

use crate::image::{IMAGE, with_image};
use crate::require;
use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::programs::output;
use crate::support::registry::Registry;
use crate::verbs::wait_for_lines;

/// The JSON that a command prints.
pub fn json(test: &Devbox, words: &[&str]) -> Value {
    let output = test.args([&["docker"], words].concat()).any_stdout().run();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", output.stdout))
}

/// What a command prints.
pub fn text(test: &Devbox, words: &[&str]) -> String {
    test.args([&["docker"], words].concat()).any_stdout().run().stdout
}

/// Starts a container in the background; returns its id.
pub fn start(test: &Devbox, options: &[&str], command: &[&str]) -> String {
    let words = [&["docker", "run", "-d"], options, &[IMAGE], command].concat();
    test.args(words).any_stdout().any_stderr().run().stdout.trim().to_owned()
}

#[test]
fn without_anything_there() {
    let test = Devbox::new();
    for (words, expected) in [
        (&["buildx", "version"][..], "github.com/docker/buildx v0.17.0 devbox\n"),
        (&["ps", "-q", "-a", "--filter", "label=a=b"], ""),
        (&["ps", "-a", "--filter", "label=a=b", "--format={{ json . }}"], ""),
        (&["volume", "ls", "-q"], ""),
        (&["images", "-q"], ""),
        (&["info", "-f", "{{.Runtimes.nvidia}}"], "<no value>\n"),
        (&["info", "-f", "{{.Host.Security.SELinuxEnabled}}"], "<no value>\n"),
        (&["version", "--format", "{{.Server.APIVersion}}"], "1.41\n"),
        (&["version", "--format", "{{.Server.Version}}"], "28.0.0\n"),
        (&["context", "ls", "-q"], "default\n"),
        (&["container", "ls", "--all", "--no-trunc", "--format", "{{json .}}", "--size=false"], ""),
    ] {
        test.args([&["docker"], words].concat()).stdout(expected).run();
    }
    let refused = test.args(["docker", "info", "-f", "{{nope .ID}}"]).any_stderr().status(1).run().stderr;
    assert!(refused.contains("the function `nope` at 3 is not defined"), "{refused}");
    assert!(text(&test, &["-v"]).starts_with("Docker version 28.0.0, devbox "));
    assert!(text(&test, &["--version"]).starts_with("Docker version 28.0.0, devbox "));
    assert!(text(&test, &["network", "ls"]).contains("bridge"));
    assert_eq!(json(&test, &["info", "--format", "{{json .}}"])["OSType"], "linux");
    assert_eq!(json(&test, &["version", "--format", "{{json .}}"])["Client"]["ApiVersion"], "1.41");
    let missing = "error: no such container, image or volume: `missing`\n\
                   hint: `devbox docker ps -a` shows the containers there are\n";
    test.args(["docker", "inspect", "missing"]).stdout("[]\n").stderr(missing).status(1).run();
    for kind in ["container", "image", "volume"] {
        test.args(["docker", "inspect", "--type", kind, "missing"]).stdout("[]\n").any_stderr().status(1).run();
    }
}

#[test]
fn what_is_not_supported_says_so_at_once() {
    let test = Devbox::new();
    for (words, sentence) in [
        (&["compose", "version", "--short"][..], "Docker Compose files are not supported"),
        (&["swarm", "init"], "`docker swarm` is not supported"),
        (&["network", "create", "x"], "`docker network create` is not supported"),
        (&["buildx", "bake"], "`docker buildx bake` is not supported"),
        (&["container", "attach", "x"], "`docker container attach` is not supported"),
        (&["-H", "tcp://x", "ps"], "another daemon"),
        (&["--context", "remote", "ps"], "the context `remote`"),
        (&["run", "--no-such-option", "x"], "--no-such-option"),
        (&["run", "--pid", "host", "x"], "a box has its own"),
        (&["run", "--memory-swap", "-1", "--pid", "host", "x"], "a box has its own"),
        (&["run", "--ipc=host", "x"], "a box has its own"),
        (&["run", "--network", "container:y", "x"], "there are the networks"),
        (&["run", "--mount", "type=npipe,source=a,target=/b", "x"], "`npipe` are not supported"),
    ] {
        let output = test.args([&["docker"], words].concat()).any_stderr().status(125).run();
        assert!(output.stderr.contains(sentence), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn a_container_lives_and_ends() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let options = ["--name", "shop", "-l", "folder=/a b=c", "-e", "X=1 2", "-p", "127.0.0.1::80"];
    let id =
        start(&test, &options, &["sh", "-c", "trap 'exit 5' TERM; echo err >&2; echo out; tail -f /dev/null & wait"]);
    let mut logs = test.command(["docker", "logs", "-f", "shop"]);
    logs.stderr(std::process::Stdio::null());
    let mut logs = Background::start(logs);
    // From now on a signal is caught.
    logs.expect("out");
    assert_eq!(id.len(), 64);
    assert_eq!(text(&test, &["ps", "-q", "-a", "--no-trunc", "--filter", "label=folder=/a b=c"]), format!("{id}\n"));
    assert_eq!(text(&test, &["ps", "-q", "--filter", "label=folder=/a"]), "");
    assert_eq!(text(&test, &["ps", "--format", "{{.ID}}\\t{{.Names}}"]), format!("{}\tshop\n", &id[..12]));
    assert_eq!(json(&test, &["ps", "--format={{ json . }}"])["Labels"], "folder=/a b=c,of.image=yes");

    assert_eq!(text(&test, &["ps", "--format", "{{.Label \"folder\"}} {{printf \"%.5s\" .Names}}"]), "/a b=c shop\n");
    let bound =
        text(&test, &["inspect", "-f", "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostIp}}", "shop"]);
    assert_eq!(bound, "127.0.0.1\n");

    let list = json(&test, &["inspect", "--type", "container", &id[..12]]);
    let one = &list[0];
    assert_eq!((&one["Id"], &one["State"]["Status"]), (&Value::from(id.clone()), &Value::from("running")));
    assert_eq!(one["Config"]["Labels"]["folder"], "/a b=c");
    let variables: Vec<&str> = one["Config"]["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(variables.contains(&"GREETING=hello") && variables.contains(&"X=1 2"), "{variables:?}");
    assert!(one["NetworkSettings"]["Ports"]["80/tcp"].is_array());
    assert_eq!(json(&test, &["inspect", "--format={{ json . }}", "shop"])["Id"], *id);
    assert_eq!(text(&test, &["inspect", "-f", "{{ index .Config.Labels \"of.image\" }}", "shop"]), "yes\n");

    test.args(["docker", "exec", "shop", "sh", "-c", "echo $GREETING $X; echo e >&2; exit 7"])
        .stdout("hello 1 2\n")
        .stderr("e\n")
        .status(7)
        .run();
    let passed = test
        .args(["docker", "exec", "-i", "-e", "A=b=c", "-w", "/bin", "shop", "sh", "-c", "pwd; echo $A; cat"])
        .stdin([0, 255, 10])
        .any_stdout()
        .run();
    assert_eq!(passed.stdout_bytes, b"/bin\nb=c\n\0\xff\n");
    test.args(["docker", "exec", "shop", "no-such-program"]).any_stderr().status(127).run();
    test.args(["docker", "exec", "missing", "true"]).any_stderr().status(1).run();
    test.args(["docker", "run", "--name", "shop", IMAGE]).any_stderr().status(125).run();

    test.args(["docker", "stop", "shop"]).stdout("shop\n").run();
    assert!(logs.wait().success(), "who follows the logs is told of their end");
    let stopped = &json(&test, &["inspect", "shop"])[0];
    assert_eq!((&stopped["State"]["Status"], &stopped["State"]["ExitCode"]), (&"exited".into(), &5.into()));
    assert_eq!(stopped["Created"], one["Created"]);
    test.args(["docker", "exec", "shop", "true"]).any_stderr().status(1).run();
    test.args(["docker", "logs", "shop"]).stdout("out\n").stderr("err\n").run();
    test.args(["docker", "start", "shop"]).stdout("shop\n").run();
    let again = &json(&test, &["inspect", "shop"])[0];
    assert_eq!(again["Created"], one["Created"]);
    assert_ne!(again["State"]["StartedAt"], one["State"]["StartedAt"]);
    test.args(["docker", "rm", "shop"]).any_stderr().status(1).run();
    test.args(["docker", "rm", "-f", "shop"]).stdout("shop\n").run();
    test.args(["docker", "rm", "-f", "shop"]).run();
    assert_eq!(text(&test, &["ps", "-aq"]), "");
}

/// The bytes that stream `number` carries: more than a pipe holds.
fn bytes_of(number: usize) -> Vec<u8> {
    (0..1_u32 << 20).map(|index| index.to_le_bytes()[number]).collect()
}

#[test]
fn streams_into_one_container_are_kept_apart() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    start(&test, &["--name", "shop"], &[]);
    test.args(["docker", "exec", "shop", "mkfifo", "/tmp/gate"]).run();
    std::thread::scope(|scope| {
        // Neither passes the gate before the other has come to it.
        for (number, gate) in [(0, "echo >/tmp/gate; cat"), (1, "read line </tmp/gate; cat")] {
            let command = test.command(["docker", "exec", "-i", "shop", "sh", "-c", gate]);
            scope.spawn(move || {
                let bytes = bytes_of(number);
                let passed = output(command, &bytes);
                let errors = String::from_utf8_lossy(&passed.stderr);
                assert!(passed.status.success() && passed.stdout == bytes, "stream {number}: {errors}");
            });
        }
    });
}

#[test]
fn a_shell_of_a_container_has_the_terminal() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    start(&test, &["--name", "shop"], &[]);
    let mut terminal = test.terminal(["docker", "exec", "-it", "-e", "PS1=shop> ", "shop", "sh"], 24, 80);
    terminal.wait_for_text("shop> ");
    terminal.send("tty; stty size; echo $GREETING\n");
    for text in ["/dev/pts/", "24 80", "hello"] {
        terminal.wait_for_text(text);
    }
    terminal.send("sh -c 'echo sta''rted; exec tail -f /dev/null'\n");
    terminal.wait_for_text("started");
    terminal.resize(40, 100);
    terminal.send("\x03");
    terminal.send("echo status $?; stty size\n");
    terminal.wait_for_text("status 130");
    terminal.wait_for_text("40 100");
    terminal.send("exit 7\n");
    assert_eq!(terminal.wait_exit().code(), Some(7));
    assert!(terminal.is_as_before());
}

#[test]
fn whoever_runs_a_container_sees_what_it_does() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    let run = |options: &[&str], command: &[&str]| {
        test.args([&["docker", "run", "--rm"], options, &[IMAGE], command].concat())
    };
    run(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).stdout("out\n").stderr("err\n").status(3).run();
    let both = ["sh", "-c", "echo out; echo err >&2"];
    run(&["-a", "stdout"], &both).stdout("out\n").run();
    run(&["-a", "STDERR"], &both).stderr("err\n").run();
    run(&["-a", "STDOUT", "-a", "stderr"], &both).stdout("out\n").stderr("err\n").run();
    for refused in [&["-a", "out"][..], &["-i", "-a", "stdout"], &["-d", "-a", "stdout"]] {
        run(refused, &both).any_stderr().status(125).run();
    }
    run(&["-it"], &["true"]).any_stderr().status(125).run();
    run(&["--cidfile", "id"], &["true"]).run();
    let id = std::fs::read_to_string(test.project().join("id")).unwrap();
    assert_eq!(id.len(), 64);
    let refused = run(&["--cidfile", "id"], &["true"]).any_stderr().status(125).run().stderr;
    assert!(refused.contains("it is there already"), "{refused}");
    assert_eq!(std::fs::read_to_string(test.project().join("id")).unwrap(), id);
    run(&["-i"], &["cat"]).stdin("typed").stdout("typed").run();
    run(&["--entrypoint", "/bin/sh"], &["-c", "echo \"$0 $@\"", "-", "a b"]).stdout("- a b\n").run();
    run(&["--cap-drop", "ALL"], &["grep", "CapEff", "/proc/self/status"]).stdout("CapEff:\t0000000000000000\n").run();
    run(&[], &["no-such-program"]).any_stderr().status(127).run();
    run(&["-u", "nobody-here"], &["true"]).any_stderr().status(125).run();
    run(&["--privileged", "--init"], &["true"])
        .stderr("devbox: `--privileged` gives nothing: no box has rights over the host; `--cap-add` gives single capabilities\n")
        .run();
    assert_eq!(text(&test, &["ps", "-aq"]), "");
}

#[test]
fn what_lies_outside_is_asked_for() {
    require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.file("inside", "here\n");
    let mount = |source: &std::path::Path| format!("type=bind,source={},target=/mnt", source.display());
    let run = |mount: &str| test.args(["docker", "run", "--rm", "--mount", mount, IMAGE, "cat", "/mnt/inside"]);
    run(&mount(&test.project())).stdout("here\n").run();
    std::fs::create_dir(test.path("other")).unwrap();
    std::fs::write(test.path("other/inside"), "there\n").unwrap();
    let refused = run(&mount(&test.path("other"))).any_stderr().status(125).run();
    assert!(refused.stderr.contains("read and change `[TEST]/other` of the host, as `/mnt`"), "{}", refused.stderr);
    let key = refused.stderr.split("devbox docker allow ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    test.args(["docker", "allow", key]).any_stdout().run();
    run(&mount(&test.path("other"))).stdout("there\n").run();
    test.args(["docker", "run", "--rm", "--network", "host", IMAGE, "true"]).any_stderr().status(125).run();
    test.args(["docker", "allow", "0123456789ab"]).any_stderr().status(1).run();
}

#[test]
fn events_are_not_missed() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    let mut events =
        Background::start(test.command(["docker", "events", "--format", "{{json .}}", "--filter", "event=start"]));
    for name in ["one", "two"] {
        start(&test, &["--name", name, "-l", "a=b=c"], &[]);
        let event: Value = serde_json::from_str(&events.line()).unwrap();
        assert_eq!((&event["status"], &event["Actor"]["Attributes"]["a"]), (&"start".into(), &"b=c".into()));
        assert_eq!(event["Actor"]["Attributes"]["name"], name);
    }
    events.signal(rustix::process::Signal::TERM);
    events.wait();
}

/// An image that is only in a registry, as `docker pull -- IMAGE` of Zed finds it.
#[test]
fn images_are_pulled() {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("docker-registry"));
    let (registry, test) = (Registry::start(), with_image());
    let name = format!("{}/base:1", registry.name());
    test.args(["docker", "tag", IMAGE, &name]).run();
    test.args(["image", "push", &name]).any_stdout().any_stderr().run();
    test.args(["docker", "rmi", &name]).any_stdout().run();
    test.args(["docker", "inspect", "--type", "image", &name]).stdout("[]\n").any_stderr().status(1).run();
    for words in [["pull", "--", &name], ["image", "pull", &name]] {
        test.args([&["docker"][..], &words].concat()).any_stdout().any_stderr().run();
        let image = &json(&test, &["inspect", "--type", "image", &name])[0];
        assert_eq!(
            (&image["RepoTags"][0], &image["Config"]["Labels"]["of.image"]),
            (&name.as_str().into(), &"yes".into())
        );
        test.args(["docker", "rmi", &name]).any_stdout().run();
    }
    test.args(["docker", "pull", "-q", &name]).stdout(format!("{name}\n")).run();
}

#[test]
fn images_volumes_and_copies() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.args(["docker", "tag", IMAGE, "other:1"]).run();
    assert_eq!(text(&test, &["images", "--format", "{{.Repository}}:{{.Tag}}"]), "other:1\ntest-base:latest\n");
    let image = &json(&test, &["inspect", "--type", "image", IMAGE])[0];
    assert_eq!((&image["Config"]["User"], &image["Config"]["Labels"]["of.image"]), (&"".into(), &"yes".into()));
    let id = image["Id"].as_str().unwrap();
    assert_eq!(text(&test, &["inspect", "-f", "{{if .RepoTags}}{{index .RepoTags 0}}{{end}}", id]), "other:1\n");
    start(&test, &["--name", "box", "-v", "data:/data", "-u", "dev"], &[]);
    test.args(["docker", "exec", "box", "sh", "-c", "id -un; echo kept >/data/file"]).stdout("dev\n").run();
    test.args(["docker", "volume", "rm", "data"]).any_stderr().status(1).run();
    test.file("local", "of the host\n");
    test.args(["docker", "cp", "local", "box:/tmp/copy"]).run();
    test.args(["docker", "exec", "box", "cat", "/tmp/copy"]).stdout("of the host\n").run();
    test.args(["docker", "cp", "box:/data", "."]).run();
    assert_eq!(std::fs::read_to_string(test.project().join("data/file")).unwrap(), "kept\n");
    let archive = test.args(["docker", "cp", "box:/tmp/copy", "-"]).any_stdout().run();
    assert!(archive.stdout_bytes.starts_with(b"copy\0"), "an archive of one file");
    test.args(["docker", "rm", "-f", "box"]).stdout("box\n").run();
    test.args(["docker", "run", "--rm", "-v", "data:/d", id, "cat", "/d/file"]).stdout("kept\n").run();
    test.args(["docker", "volume", "rm", "data"]).stdout("data\n").run();
    test.args(["docker", "rmi", "other:1"]).stdout("Untagged: other:1\n").run();
}

/// The words of Zed and DevPod, in their order: they make a container by an image's id, and speak with it by its own.
#[test]
fn what_zed_and_devpod_call() {
    require!(Subuid, Userns, Overlay, Program("busybox"));
    let test = with_image();
    test.file("tool", "a tool\n");
    let folder = format!("label=devcontainer.local_folder={}", test.project().display());
    let config = "label=devcontainer.config_file=/a b/devcontainer.json";
    let mount = format!("type=bind,source={},target=/workspaces/p,consistency=cached", test.project().display());
    let metadata = "devcontainer.metadata=[{\"remoteUser\":\"dev\"}]";
    let image = text(&test, &["inspect", "-f", "{{.Id}}", IMAGE]);
    let script = "trap 'exit 0' 15\necho Container started\nexec \"$@\"\ntail -f /dev/null & wait\n";
    let made =
        ["run", "--sig-proxy=false", "-d", "--mount", &mount, "-l", &folder[6..], "-l", &config[6..], "-l", metadata];
    let made = [&made[..], &["-p", "127.0.0.1::3000", "--entrypoint", "/bin/sh", image.trim_end(), "-c", script, "-"]];
    let id = text(&test, &made.concat());
    let id = id.trim_end();
    wait_for_lines(&test, id, &["Container started"]);

    let found = ["ps", "-a", "--filter", &folder, "--filter", config, "--format={{ json . }}"];
    assert!(json(&test, &found)["ID"].as_str().is_some_and(|found| !found.is_empty() && id.starts_with(found)));
    let one = json(&test, &["inspect", "--format={{json . }}", id]);
    assert_eq!(one["Config"]["Labels"]["devcontainer.metadata"], metadata[22..]);
    assert_eq!((&one["State"]["Running"], &one["Config"]["User"]), (&true.into(), &"".into()));
    assert!(one["Config"]["Env"].is_array() && one["State"]["StartedAt"].is_string(), "{one}");
    assert_eq!(one["Mounts"][0]["Source"], "[TEST]/project");
    assert_eq!(one["Mounts"][0]["Destination"], "/workspaces/p");
    let of_image = json(&test, &["inspect", "--format={{json . }}", image.trim_end()]);
    assert!(of_image["Os"] == "linux" && of_image["Architecture"].is_string() && of_image["Config"]["Env"].is_array());
    let both = json(&test, &["inspect", "--type", "container", id, &id[..12]]);
    assert_eq!(both.as_array().map(Vec::len), Some(2));

    let shell = "echo -n ␄; ( id -un ); echo -n ␄$?␄; echo -n ␄ >&2\n";
    let session = ["exec", "-i", "-u", "root", "-e", "VSCODE_REMOTE_CONTAINERS_SESSION=1", id, "/bin/sh"];
    let at = ["exec", "-w", "/workspaces/p", "-u", "dev"];
    for (words, input, out, errors) in [
        (&["-v"][..], "", None, ""),
        (&["cp", "-a", "tool", &format!("{id}:/tmp/tool")], "", Some(""), ""),
        (&["exec", id, "chown", "dev:dev", "/tmp/tool"], "", Some(""), ""),
        (&["exec", id, "stat", "-c", "%U", "/tmp/tool"], "", Some("dev\n"), ""),
        (&session, shell, Some("␄root\n␄0␄"), "␄"),
        (
            &[&at[..], &["-e", "A=b=c", id, "sh", "-c", "echo $A; id -un; pwd"]].concat(),
            "",
            Some("b=c\ndev\n/workspaces/p\n"),
            "",
        ),
        (&[&at[..], &["-i", id, "cat", "-", "tool"]].concat(), "typed\n", Some("typed\na tool\n"), ""),
        (&["volume", "list", "-q", "--filter", "name=none"], "", Some(""), ""),
        (&["inspect", "-f", "{{ index .Config.Labels \"manager\" }}", id], "", Some("\n"), ""),
        (&["ps", "-q", "--filter", &folder], "", Some(&format!("{}\n", &id[..12])), ""),
        (&["stop", id], "", Some(&format!("{id}\n")), ""),
        (&["logs", id], "", Some("Container started\n"), ""),
        (&["start", id], "", Some(&format!("{id}\n")), ""),
        (&["rm", "-f", id], "", Some(&format!("{id}\n")), ""),
        (&["ps", "-q", "-a", "--filter", &folder], "", Some(""), ""),
    ] {
        let run = test.args([&["docker"], words].concat()).stdin(input).stderr(errors);
        if let Some(out) = out { run.stdout(out) } else { run.any_stdout() }.run();
    }
    let ended = ["events", "--format", "json", "--filter", &format!("container={id}"), "--filter", "event=destroy"];
    let event = json(&test, &[&ended[..], &["--since", "1", "--until", "4000000000"]].concat());
    assert_eq!((&event["Action"], &event["Actor"]["ID"]), (&"destroy".into(), &id.into()));
}
