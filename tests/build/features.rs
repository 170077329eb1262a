//! Features of devcontainer files: from folders, from registries, from URLs; in their order, and hostile ones.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::support::devbox::Devbox;
use crate::support::registry::{Registry, run};

const FEATURE: &str = "devcontainer-feature.json";

/// A project whose image has what scripts need.
fn with_image() -> Devbox {
    let test = Devbox::new();
    test.root_with_busybox("img/root");
    for program in ["chmod", "cut", "grep", "env"] {
        std::os::unix::fs::symlink("busybox", test.project().join("img/root/bin").join(program)).expect("a link");
    }
    test.file("img/root/etc/passwd", "root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n");
    test.file("img/Containerfile", "FROM scratch\nCOPY root/ /\nUSER node\n");
    test.args(["image", "build", "-t", "localhost/image", "img"]).any_stdout().any_stderr().run();
    test
}

/// A Feature that notes its name, and what it was given.
fn feature(test: &Devbox, id: &str, more: &str) {
    let script =
        "#!/bin/sh\nset -e\necho \"$1 $VERSION $_REMOTE_USER $_CONTAINER_USER $_REMOTE_USER_HOME\" >> /installed\n";
    test.file(&format!(".devcontainer/{id}/install.sh"), script.replace("$1", id));
    test.file(&format!(".devcontainer/{id}/{FEATURE}"), format!("{{\"id\": \"{id}\"{more}}}"));
}

fn project(test: &Devbox, features: &str) {
    let text =
        format!("{{\"image\": \"localhost/image\", \"features\": {features}, \"postCreateCommand\": \"echo own\"}}");
    test.file(".devcontainer/devcontainer.json", text);
}

/// One request to the registry: the status line and the headers.
fn request(registry: &Registry, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", registry.port())).expect("the registry");
    let head = format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn push_blob(registry: &Registry, name: &str, bytes: &[u8]) -> String {
    let digest = format!("sha256:{}", devbox::image::digest::of_bytes(bytes).trim_start_matches("sha256:"));
    let answer = request(registry, &format!("POST /v2/{name}/blobs/uploads/ HTTP/1.1"), b"");
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a place").trim();
    let path = &location[location.find("/v2/").expect("a path")..];
    let put = format!("PUT {path}&digest={digest} HTTP/1.1\r\nContent-Type: application/octet-stream");
    assert!(request(registry, &put, bytes).starts_with("HTTP/1.1 201"));
    digest
}

/// Pushes the archive of a Feature under `name`; returns its digest.
fn push(registry: &Registry, name: &str, archive: &[u8]) -> String {
    let config = push_blob(registry, name, b"{}");
    let layer = push_blob(registry, name, archive);
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.devcontainers\",\"digest\":\"{config}\",\"size\":2}},\
         \"layers\":[{{\"mediaType\":\"application/vnd.devcontainers.layer.v1+tar\",\"digest\":\"{layer}\",\"size\":{}}}]}}",
        archive.len()
    );
    let put =
        format!("PUT /v2/{name}/manifests/1 HTTP/1.1\r\nContent-Type: application/vnd.oci.image.manifest.v1+json");
    let answer = request(registry, &put, manifest.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    layer
}

/// The archive of the folder `.devcontainer/ID`, its names changed by `sed`.
fn archive(test: &Devbox, id: &str, sed: &str) -> Vec<u8> {
    let path = test.path(format!("{id}.tgz"));
    let folder = test.project().join(".devcontainer").join(id);
    run(Command::new("tar").args(["-P", "--transform", sed, "-C"]).arg(folder).arg("-czf").arg(&path).arg("."));
    std::fs::read(path).expect("an archive")
}

#[test]
fn folders_in_their_order_with_options_and_what_they_ask_for() {
    crate::require!(Userns, Overlay, Program("busybox"));
    let test = with_image();
    feature(&test, "first", ", \"options\": {\"version\": {\"default\": \"9\"}}, \"installsAfter\": [\"./second\"]");
    let asks = ", \"containerEnv\": {\"SECOND\": \"${PATH}:/s\"}, \"dependsOn\": {\"./base\": {\"version\": \"b\"}}, \
                \"postCreateCommand\": \"echo of the feature\", \"entrypoint\": \"echo entrypoint\"";
    feature(&test, "second", asks);
    feature(&test, "base", "");
    project(&test, "{\"./first\": {}, \"./second\": \"it's\"}");
    let output = test.sh("cat /installed; echo $SECOND; id -u").any_stdout().any_stderr().run();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/s";
    let installed = "base b node node /home/node\nsecond it's node node /home/node\nfirst 9 node node /home/node\n";
    assert_eq!(output.stdout, format!("{installed}{path}\n1000\n"));
    let hooks: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with(['#', 'd'])).collect();
    assert_eq!(hooks, ["of the feature", "own", "entrypoint"], "{}", output.stderr);
    // Nothing has changed: nothing is installed.
    let again = test.sh("true").any_stderr().run();
    assert!(!again.stderr.contains("RUN"), "{}", again.stderr);
}

#[test]
fn registries_and_urls() {
    crate::require!(Userns, Overlay, Program("busybox"), Program("docker-registry"));
    let registry = Registry::start();
    let test = with_image();
    feature(&test, "remote", "");
    feature(&test, "archive", "");
    let name = format!("{}/owner/remote", registry.name());
    push(&registry, "owner/remote", &archive(&test, "remote", "s,x,x,"));
    let blob = push(&registry, "owner/archive", &archive(&test, "archive", "s,x,x,"));
    let url = format!("http://{}/v2/owner/archive/blobs/{blob}", registry.name());
    project(&test, &format!("{{\"{name}:1\": {{\"version\": \"3\"}}, \"{url}\": {{}}}}"));
    let output = test.sh("cat /installed").any_stdout().any_stderr().run();
    assert!(output.stdout.contains("remote 3 node") && output.stdout.contains("archive  node"), "{}", output.stdout);
    // What is known counts without the registry, too.
    drop(registry);
    test.args(["rm", "--force"]).any_stdout().any_stderr().run();
    assert_eq!(test.sh("cat /installed").any_stdout().any_stderr().run().stdout, output.stdout);
}

#[test]
fn what_cannot_be_installed() {
    crate::require!(Userns, Overlay, Program("busybox"), Program("docker-registry"));
    let registry = Registry::start();
    let test = with_image();
    feature(&test, "evil", "");
    push(&registry, "owner/evil", &archive(&test, "evil", "s,^,../../,"));
    feature(&test, "a", ", \"dependsOn\": {\"./b\": {}}");
    feature(&test, "b", ", \"dependsOn\": {\"./a\": {}}");
    feature(&test, "broken", ", \"options\": 1");
    feature(&test, "fails", "");
    feature(&test, "fine", "");
    test.file(".devcontainer/fails/install.sh", "exit 7\n");
    test.file(".devcontainer/empty/x", "");
    test.file("../outside/x", "");
    for (name, expected) in [
        (format!("{}/owner/evil:1", registry.name()), "cannot unpack the Feature"),
        (format!("{}/owner/none:1", registry.name()), "cannot fetch the Feature"),
        ("./a".to_owned(), "the Features ./a, ./b need each other"),
        ("./broken".to_owned(), "wrong type of `options`"),
        ("./fails".to_owned(), "cannot install the Feature `./fails`: the command ended with status 7"),
        ("./empty".to_owned(), "it has no `devcontainer-feature.json`"),
        ("../../outside".to_owned(), "lies outside the project"),
        ("./gone".to_owned(), "cannot open"),
    ] {
        project(&test, &format!("{{\"{name}\": {{}}}}"));
        let said = test.sh("true").status(125).any_stderr().run().stderr;
        assert!(said.contains(expected), "{name}: {said}");
    }
    assert!(!test.path("install.sh").exists() && !test.home().join(".cache/install.sh").exists());
    // What an image says of its user becomes part of a Containerfile.
    test.file("img/Containerfile", "FROM localhost/image\nARG NAME\nUSER $NAME\n");
    let user = "NAME=0\nRUN [\"touch\", \"/owned\"]";
    test.args(["image", "build", "-t", "localhost/hostile", "--build-arg", user, "img"])
        .any_stdout()
        .any_stderr()
        .run();
    project(&test, "{\"./fine\": {}}");
    let file = test.project().join(".devcontainer/devcontainer.json");
    let text = std::fs::read_to_string(&file).expect("a file").replace("localhost/image", "localhost/hostile");
    test.file(".devcontainer/devcontainer.json", text);
    let said = test.sh("ls /owned").status(125).any_stderr().run().stderr;
    assert!(said.contains("the user of the image `localhost/hostile` is no name and no number: `0\\nRUN"), "{said}");
}
