//! The real `@devcontainers/cli` with `--docker-path`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::image::{IMAGE, with_image};
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::devcontainer::{SCHEMA, faults, refused};
use crate::support::programs::ended;

/// A configuration, what it comes to, and what a command in it prints.
struct Case {
    name: &'static str,
    /// `devcontainer.json`; `IMAGE` stands for the image of the tests.
    config: &'static str,
    /// Further files: path and content.
    files: &'static [(&'static str, &'static str)],
    /// `devcontainer exec sh -c` of it.
    script: &'static str,
    expected: &'static str,
}

const fn case(name: &'static str, config: &'static str, script: &'static str, expected: &'static str) -> Case {
    Case { name, config, files: &[], script, expected }
}

const HELLO: &[(&str, &str)] = &[
    (
        ".devcontainer/hello/devcontainer-feature.json",
        r#"{"id":"hello","version":"1.0.0","name":"Hello","options":{"greeting":{"type":"string","default":"hey"}},"containerEnv":{"OF_FEATURE":"yes"}}"#,
    ),
    (
        ".devcontainer/hello/install.sh",
        "#!/bin/sh\nset -e\nprintf '#!/bin/sh\\necho %s from the feature\\n' \"$GREETING\" >/bin/hello\nchmod 755 /bin/hello\n",
    ),
];

const CASES: [Case; 22] = [
    case("image", r#"{"image":"IMAGE"}"#, "id -un; pwd", "root\n/workspaces/image\n"),
    case("comments", "{ // a comment\n\"image\":\"IMAGE\", /* and */ \"name\":\"x\",\n}", "echo ok", "ok\n"),
    case(
        "folder",
        r#"{"image":"IMAGE","workspaceFolder":"/src","workspaceMount":"source=${localWorkspaceFolder},target=/src,type=bind"}"#,
        "pwd; cat here",
        "/src\nhere\n",
    ),
    case(
        "variables",
        r#"{"image":"IMAGE","containerEnv":{"A":"b c","B":"${localWorkspaceFolderBasename}"}}"#,
        "echo $A $B $GREETING",
        "b c variables hello\n",
    ),
    case(
        "remote-env",
        r#"{"image":"IMAGE","remoteEnv":{"C":"${containerEnv:GREETING} you"}}"#,
        "echo $C",
        "hello you\n",
    ),
    case("user", r#"{"image":"IMAGE","remoteUser":"dev"}"#, "id -un; echo mine >made; cat made", "dev\nmine\n"),
    case(
        "user-kept",
        r#"{"image":"IMAGE","remoteUser":"dev","updateRemoteUserUID":false}"#,
        "id -u; echo mine >made && cat made",
        "1005\nmine\n",
    ),
    case("container-user", r#"{"image":"IMAGE","containerUser":"dev"}"#, "id -un; echo $HOME", "dev\n/home/dev\n"),
    case(
        "mount",
        r#"{"image":"IMAGE","mounts":["source=${localWorkspaceFolder}/sub,target=/sub,type=bind,readonly"]}"#,
        "cat /sub/file; echo x >/sub/file || echo closed",
        "sub\nclosed\n",
    ),
    case(
        "volume",
        r#"{"image":"IMAGE","mounts":[{"source":"cache-${devcontainerId}","target":"/cache","type":"volume"}]}"#,
        "echo c >/cache/f; cat /cache/f",
        "c\n",
    ),
    case("hook-string", r#"{"image":"IMAGE","postCreateCommand":"echo post >out"}"#, "cat out", "post\n"),
    case("hook-array", r#"{"image":"IMAGE","onCreateCommand":["sh","-c","echo on >out"]}"#, "cat out", "on\n"),
    case(
        "hook-object",
        r#"{"image":"IMAGE","postCreateCommand":{"one":"echo 1 >one","two":["sh","-c","echo 2 >two"]}}"#,
        "cat one two",
        "1\n2\n",
    ),
    case(
        "hooks-in-order",
        r#"{"image":"IMAGE","onCreateCommand":"echo 1 >>out","updateContentCommand":"echo 2 >>out","postCreateCommand":"echo 3 >>out","postStartCommand":"echo 4 >>out","postAttachCommand":"echo 5 >>out"}"#,
        "cat out",
        "1\n2\n3\n4\n5\n",
    ),
    case("on-the-host", r#"{"image":"IMAGE","initializeCommand":"echo host >out"}"#, "cat out", "host\n"),
    case(
        "run-args",
        r#"{"image":"IMAGE","runArgs":["--cap-add=SYS_PTRACE","--security-opt","seccomp=unconfined","-e","R=1","--name","named","--init","--shm-size=64m","-l","own=label"]}"#,
        "echo $R",
        "1\n",
    ),
    case("privileged", r#"{"image":"IMAGE","privileged":true,"capAdd":["SYS_PTRACE"],"init":true}"#, "echo ok", "ok\n"),
    case(
        "port",
        r#"{"image":"IMAGE","forwardPorts":[3000],"portsAttributes":{"3000":{"label":"x"}}}"#,
        "echo ok",
        "ok\n",
    ),
    case("own-command", r#"{"image":"IMAGE","overrideCommand":false}"#, "echo ok", "ok\n"),
    Case {
        name: "dockerfile",
        config: r#"{"build":{"dockerfile":"Dockerfile","args":{"WHO":"you"}}}"#,
        files: &[(".devcontainer/Dockerfile", "FROM IMAGE\nARG WHO\nRUN echo built for $WHO >/built\n")],
        script: "cat /built",
        expected: "built for you\n",
    },
    Case {
        name: "dockerfile-user",
        config: r#"{"build":{"dockerfile":"Dockerfile","context":"..","target":"last"},"remoteUser":"dev"}"#,
        files: &[(
            ".devcontainer/Dockerfile",
            "FROM IMAGE AS first\nRUN echo one >/one\nFROM IMAGE AS last\nCOPY --from=first /one /one\nCOPY here /two\n",
        )],
        script: "id -un; cat /one /two",
        expected: "dev\none\nhere\n",
    },
    Case {
        name: "feature",
        config: r#"{"image":"IMAGE","features":{"./hello":{"greeting":"good day"}},"remoteUser":"dev"}"#,
        files: HELLO,
        script: "hello; echo $OF_FEATURE; id -un",
        expected: "good day from the feature\nyes\ndev\n",
    },
];

/// devbox under docker's name.
pub fn docker(test: &Devbox) -> PathBuf {
    let docker = test.path("docker");
    if !docker.exists() {
        // Of several tests' threads none shares a directory.
        std::os::unix::fs::symlink(test.path("devbox"), &docker).expect("a link");
    }
    docker
}

/// Runs `devcontainer`; its output and its status.
fn devcontainer(test: &Devbox, words: &[&str]) -> (String, String, i32) {
    let mut command = test.program("devcontainer");
    // What follows a command is the command's.
    command.arg(words[0]).arg("--docker-path").arg(docker(test)).args(&words[1..]);
    let (status, stdout, stderr) = ended(command, b"");
    (stdout, stderr, status)
}

/// The last line of what it prints, as JSON.
fn outcome(stdout: &str) -> Value {
    stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

fn write(folder: &Path, case: &Case) {
    let files = [(".devcontainer/devcontainer.json", case.config), ("here", "here\n"), ("sub/file", "sub\n")];
    for (name, content) in files.iter().chain(case.files) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(&path, content.replace("IMAGE", IMAGE)).expect("a file");
    }
}

fn check(test: &Devbox, case: &Case) {
    let folder = test.project().join(case.name);
    write(&folder, case);
    let place = folder.to_str().expect("a plain name");
    let (stdout, stderr, status) = devcontainer(test, &["up", "--workspace-folder", place]);
    assert_eq!((status, outcome(&stdout)["outcome"].as_str()), (0, Some("success")), "{}: {stdout}{stderr}", case.name);
    let (stdout, stderr, status) = devcontainer(test, &["exec", "--workspace-folder", place, "sh", "-c", case.script]);
    assert_eq!((stdout.as_str(), status), (case.expected, 0), "{}: {stderr}", case.name);
}

/// Every fourth case, from `first` on: several tests share the processors.
fn quarter(first: usize) {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("devcontainer"));
    let test = with_image();
    for case in CASES.iter().skip(first).step_by(4) {
        check(&test, case);
    }
}

#[test]
fn configurations_of_the_first_quarter() {
    quarter(0);
}

#[test]
fn configurations_of_the_second_quarter() {
    quarter(1);
}

#[test]
fn configurations_of_the_third_quarter() {
    quarter(2);
}

#[test]
fn configurations_of_the_last_quarter() {
    quarter(3);
}

#[test]
fn an_image_for_everybody() {
    require!(Userns, Overlay, Program("busybox"), Program("devcontainer"));
    let test = with_image();
    check(&test, &CASES[0]);
}

#[test]
fn every_verb() {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("devcontainer"));
    let test = with_image();
    let hooks = case(
        "verbs",
        r#"{"image":"IMAGE","postCreateCommand":"echo once >>out","postStartCommand":"echo start >>started"}"#,
        "cat out",
        "once\n",
    );
    check(&test, &hooks);
    let folder = test.project().join("verbs");
    let place = folder.to_str().expect("a plain name");
    let verb = |words: &[&str]| {
        let (stdout, stderr, status) = devcontainer(&test, words);
        assert_eq!(status, 0, "{words:?}: {stdout}{stderr}");
        stdout
    };
    let first = test.args(["docker", "ps", "-q"]).any_stdout().run().stdout;
    let read = verb(&["read-configuration", "--workspace-folder", place, "--include-merged-configuration"]);
    assert_eq!(outcome(&read)["configuration"]["image"], IMAGE);
    verb(&["run-user-commands", "--workspace-folder", place]);
    test.args(["docker", "stop", "-t", "1", first.trim()]).stdout(&*first).run();
    verb(&["up", "--workspace-folder", place]);
    assert_eq!(std::fs::read_to_string(folder.join("out")).unwrap(), "once\n", "once for each container");
    assert_eq!(std::fs::read_to_string(folder.join("started")).unwrap(), "start\nstart\n", "at each start");
    verb(&["set-up", "--container-id", first.trim()]);
    let built = verb(&["build", "--workspace-folder", place, "--image-name", "named:1"]);
    assert_eq!(outcome(&built)["outcome"], "success");
    let named = test.args(["docker", "images", "-q", "named:1"]).any_stdout().run().stdout;
    let digits = named.trim_end();
    assert!(digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{named:?}");
    verb(&["up", "--workspace-folder", place, "--remove-existing-container"]);
    assert_eq!(std::fs::read_to_string(folder.join("out")).unwrap(), "once\nonce\n", "and again for another");
    let (_, stderr, status) = devcontainer(&test, &["exec", "--workspace-folder", place, "sh", "-c", "exit 9"]);
    assert_eq!(status, 9, "{stderr}");
}

#[test]
fn what_is_refused() {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("devcontainer"));
    let test = with_image();
    for (name, config, sentence) in [
        (
            "outside",
            r#"{"image":"IMAGE","mounts":["source=/etc,target=/host,type=bind"]}"#,
            "read and change `/etc` of the host",
        ),
        ("host-pid", r#"{"image":"IMAGE","runArgs":["--pid=host"]}"#, "a box has its own"),
        ("host-network", r#"{"image":"IMAGE","runArgs":["--network=host"]}"#, "use the host's network"),
    ] {
        let case = case(name, config, "", "");
        let folder = test.project().join(name);
        write(&folder, &case);
        let place = folder.to_str().expect("a plain name");
        let (stdout, stderr, status) = devcontainer(&test, &["up", "--workspace-folder", place]);
        assert_eq!(status, 1, "{name}: {stdout}");
        assert!(stderr.contains(sentence) || stdout.contains(sentence), "{name}: {stdout}{stderr}");
    }
}

#[test]
fn these_configurations_are_ones_that_editors_write() {
    require!(Python("jsonschema"), Node(SCHEMA));
    let test = Devbox::new();
    let mut configs = Vec::new();
    for case in CASES {
        let folder = test.project().join(case.name);
        write(&folder, &case);
        // Without its comments and its last commas.
        let shown = case.config.replace("// a comment", "").replace("/* and */", "").replace(",\n}", "}");
        let config = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(faults(&config), Vec::<String>::new(), "{}", case.name);
        test.args(["import", "--print"]).current_dir(&folder).any_stdout().run();
        configs.push(config);
    }
    assert_eq!(refused(&configs), "");
}
