//! Options and sources that need something besides a context: registries, servers, agents.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::own::{build, content, has};
use super::pair::{built, devbox_with_base};
use crate::support::devbox::Devbox;
use crate::support::files::wait_for_change;
use crate::support::registry::{Registry, run};

/// What a build prints on standard error, which must succeed.
fn build_in(test: &Devbox, options: &[&str], context: &str) -> String {
    let run = options.iter().fold(test.args(["image", "build"]), |run, option| run.arg(option));
    run.arg(context).any_stdout().any_stderr().run().stderr
}

#[test]
fn steps_come_from_an_image() {
    crate::require!(Userns, Overlay, Program("docker-registry"));
    let registry = Registry::start();
    let cache = format!("{}/app", registry.name());
    let base = format!("{}/base", registry.name());
    let publisher = devbox_with_base();
    publisher.args(["image", "push", "localhost/base", &base]).any_stdout().any_stderr().run();
    let file =
        format!("FROM {base}\nLABEL a=b\nRUN date +%N > /stamp\nCOPY f /f\nRUN --network=none echo last > /last\n");
    let digests = [0, 1, 2].map(|number| {
        // Each has a store of its own: another machine.
        let test = Devbox::new();
        test.file("c/Containerfile", &file).file("c/f", if number == 2 { "other" } else { "same" });
        let said = build_in(&test, &["-t", &cache, "--cache-from", &cache], "c");
        match number {
            0 => assert!(said.contains("not used") && !said.contains("cached"), "{said}"),
            // The first one's `LABEL` and its three steps; then the one before the file that differs.
            1 => assert_eq!(said.matches(" cached").count(), 3, "{said}"),
            _ => assert_eq!(said.matches(" cached").count(), 1, "{said}"),
        }
        if number == 0 {
            test.args(["image", "push", &cache]).any_stdout().any_stderr().run();
        }
        content(&built(&test, "app").0, "stamp")
    });
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn registries_are_asked_when_that_is_wanted() {
    crate::require!(Userns, Overlay, Program("docker-registry"));
    let registry = Registry::start();
    let name = format!("{}/moving", registry.name());
    let publisher = devbox_with_base();
    let publish = |content: &str| {
        publisher.file("m/Containerfile", format!("FROM localhost/base\nRUN --network=none echo {content} > /v\n"));
        build_in(&publisher, &["-t", &name], "m");
        publisher.args(["image", "push", &name]).any_stdout().any_stderr().run();
    };
    let test = Devbox::new();
    test.file("c/Containerfile", format!("FROM {name}\nLABEL a=b\n"));
    let error = test.args(["image", "build", "--pull=never", "c"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("is not here") && error.contains("devbox image pull"), "{error}");
    for (published, option, expected) in [
        ("one", "--pull=missing", "one"),
        ("two", "--pull=missing", "one"),
        ("two", "--pull=never", "one"),
        ("two", "--pull", "two"),
        ("three", "--pull=always", "three"),
    ] {
        publish(published);
        build_in(&test, &["-t", "localhost/it", option], "c");
        assert_eq!(content(&built(&test, "it").0, "v"), format!("{expected}\\n"), "{option}");
    }
}

#[test]
fn agents_answer() {
    crate::require!(Userns, Overlay, Program("ssh-agent"), Program("ssh-keygen"));
    let mut test = devbox_with_base();
    let place = test.path("agent");
    std::fs::create_dir(&place).expect("a directory");
    let (socket, key) = (place.join("s"), place.join("key"));
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "the key", "-f"]).arg(&key));
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).spawn().expect("ssh-agent");
    wait_for_change(&place, "ssh-agent listens", || socket.exists());
    run(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));
    // The host's program and what it is linked with.
    let program = run(Command::new("sh").args(["-c", "readlink -f \"$(command -v ssh-add)\""]));
    let libraries = run(Command::new("ldd").arg(program.trim()));
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')).chain([program.trim()]) {
        test.file(&format!("c/tools{path}"), std::fs::read(path).expect("a library"));
        let copy = test.project().join(format!("c/tools{path}"));
        std::fs::set_permissions(copy, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let asks = |id: &str| format!("RUN --mount=type=ssh,id={id} {} -l | grep -o 'the key' > /{id}\n", program.trim());
    let file = format!(
        "FROM localhost/base\nCOPY tools /\n{}{}RUN test -z \"$SSH_AUTH_SOCK\"\n",
        asks("default"),
        asks("other")
    );
    test.file("c/Containerfile", file);
    test.env("SSH_AUTH_SOCK", &socket);
    let other = format!("other={}", socket.display());
    build_in(&test, &["-t", "localhost/it", "--ssh", "default", "--ssh", &other], "c");
    let (tree, _) = built(&test, "it");
    assert_eq!((content(&tree, "default"), content(&tree, "other")), ("the key\\n".into(), "the key\\n".into()));
    assert!(!has(&tree, "run/buildkit"));
    test.file("c/Containerfile", "FROM localhost/base\nRUN --mount=type=ssh,required true\n");
    let error = test.args(["image", "build", "c"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("was not given the SSH agent `default`"), "{error}");
    agent.kill().expect("kill");
    agent.wait().expect("wait");
}

/// A server of one file, and the requests that it got: `200` or `304` each.
fn server(content: Arc<Mutex<&'static str>>) -> (String, Arc<Mutex<Vec<u16>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/files/data.txt", listener.local_addr().expect("an address"));
    let answers = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&answers);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let head = lines.collect::<Vec<_>>().join("\n").to_lowercase();
            let body = *content.lock().expect("a lock");
            let tag = format!("\"v-{body}\"");
            let status = if head.contains(&format!("if-none-match: {tag}")) { 304 } else { 200 };
            given.lock().expect("a lock").push(status);
            let body = if status == 200 { body } else { "" };
            let date = "Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT";
            let length = format!("Content-Length: {}", body.len());
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nETag: {tag}\r\n{date}\r\n{length}\r\nConnection: close\r\n\r\n{body}"
            )
            .expect("an answer");
        }
    });
    (url, answers)
}

#[test]
fn files_of_servers_are_asked_for_again() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let content_now = Arc::new(Mutex::new("one"));
    let (url, answers) = server(Arc::clone(&content_now));
    let plain = format!("ADD {url} /srv/\n");
    for (now, expected, known) in [("one", 200, false), ("one", 304, true), ("two", 200, false), ("two", 304, true)] {
        *content_now.lock().expect("a lock") = now;
        let (tree, _, said) = build(&test, &plain, &[]);
        assert_eq!(content(&tree, "srv/data.txt"), now);
        assert_eq!(answers.lock().expect("a lock").last(), Some(&expected));
        assert_eq!(said.contains("#2 cached"), known, "{said}");
        // docker's builder gives such files this mode, and the time that the server says.
        assert!(tree[Path::new("srv/data.txt")].contains(" 600 1600000000 "), "{tree:#?}");
    }
    // With the digest, nobody is asked.
    let count = answers.lock().expect("a lock").len();
    let digest = format!("sha256:{}", devbox::image::digest::of_bytes(b"two"));
    build(&test, &format!("ADD --checksum={digest} {url} /x\n"), &[]);
    assert_eq!(answers.lock().expect("a lock").len(), count);
    let wrong = digest.replace(&digest[7..11], "0000");
    test.file("c/Containerfile", format!("FROM localhost/base\nADD --checksum={wrong} {url} /x\n"));
    let error = test.args(["image", "build", "c"]).status(1).any_stderr().run().stderr;
    assert!(error.contains("is not what was expected") && error.contains("Containerfile:2:"), "{error}");
}

#[test]
fn attributes_come_along() {
    crate::require!(Root, Userns, Overlay, Program("setcap"), Program("docker-registry"));
    let registry = Registry::start();
    let test = devbox_with_base();
    test.file("c/tool", "#!/bin/sh\n").file("c/Containerfile", ATTRIBUTES);
    let tool = test.project().join("c/tool");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    rustix::fs::setxattr(&tool, "user.note", b"kept", rustix::fs::XattrFlags::empty()).expect("an attribute");
    run(Command::new("setcap").arg("cap_net_raw+ep").arg(&tool));
    let name = format!("{}/it", registry.name());
    build_in(&test, &["-t", &name], "c");
    test.args(["image", "push", &name]).any_stdout().any_stderr().run();
    // On another machine, and copied from there.
    let other = devbox_with_base();
    other.file("c/Containerfile", format!("FROM localhost/base\nCOPY --from={name} /one /two /three /\n"));
    build_in(&other, &["-t", "localhost/it"], "c");
    for test in [&test, &other] {
        for tool in ["one", "two", "three"] {
            let of_tool: Vec<_> = layers_with(test, tool).collect();
            assert!(!of_tool.is_empty(), "{tool}");
            for path in of_tool {
                let mut value = [0; 64];
                let length = rustix::fs::lgetxattr(&path, "user.note", &mut value[..]).expect("the attribute");
                assert_eq!(&value[..length], b"kept", "{}", path.display());
                assert!(
                    rustix::fs::lgetxattr(&path, "security.capability", &mut value[..]).is_ok(),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

const ATTRIBUTES: &str = "FROM localhost/base AS first\nCOPY tool /one\nFROM localhost/base\nCOPY tool /one\n\
    COPY --from=first /one /two\nCOPY --from=first --chmod=755 /one /three\n";

/// The files called `name` at the top of layers.
fn layers_with<'a>(test: &Devbox, name: &'a str) -> impl Iterator<Item = std::path::PathBuf> + 'a {
    let layers = std::fs::read_dir(test.data().join("store/layers")).expect("layers").flatten();
    layers.map(move |layer| layer.path().join("fs").join(name)).filter(|path| path.exists())
}

#[test]
fn contexts_platforms_and_ignore_files() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    test.file("other/o", "o").file("c/a.txt", "a").file("c/b.txt", "b").file("c/c.txt", "c");
    test.file("c/.dockerignore", "a.txt\n").file("c/one.file.containerignore", "b.txt\n");
    let file = "FROM over AS named\nFROM localhost/base\nCOPY --from=dir /o /o\nCOPY --from=named /etc/passwd /p\nCOPY . /all\n\
        ARG TARGETPLATFORM\nARG BUILDPLATFORM\nRUN echo $TARGETPLATFORM $BUILDPLATFORM > /platforms\n";
    test.file("c/one.file", file).file("c/two.file", "FROM localhost/base\nCOPY . /all\n");
    let options = ["--build-context", "dir=other", "--build-context", "over=docker-image://localhost/base"];
    build_in(&test, &[&["-t", "localhost/one", "-f", "c/one.file"], &options[..]].concat(), "c");
    let (tree, _) = built(&test, "one");
    assert_eq!(content(&tree, "o"), "o");
    assert!(has(&tree, "p") && has(&tree, "all/a.txt") && !has(&tree, "all/b.txt"), "{tree:#?}");
    let host = devbox::image::platform::Platform::host().to_string();
    assert_eq!(content(&tree, "platforms"), format!("{host} {host}\\n"));
    build_in(&test, &["-t", "localhost/two", "-f", "c/two.file"], "c");
    let (tree, _) = built(&test, "two");
    assert!(!has(&tree, "all/a.txt") && has(&tree, "all/b.txt"), "{tree:#?}");

    // Of files alone an image for any platform can be made.
    test.file("f/Containerfile", "FROM scratch\nCOPY f /f\n").file("f/f", "f");
    build_in(&test, &["-t", "localhost/foreign", "--platform", "linux/arm64/v8", "--label", "a=b"], "f");
    let shown = test.args(["image", "inspect", "localhost/foreign"]).any_stdout().run().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert!(shown.to_string().contains("arm64") && shown.to_string().contains("\"a\":\"b\""), "{shown}");
}
