//! The lock file pins images by their digests: a tag that moves does not move a box.

use std::fs;
use std::process::Command;

use super::load::make_layout;
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::registry::{Registry, run};

/// Pushes the image of [`make_layout`] as `app:1`, with `content` in `/new`.
fn push(registry: &Registry, content: &str) {
    let maker = Devbox::new();
    make_layout(&maker);
    maker.file("three/new", content);
    let here = |command: &mut Command| run(command.current_dir(maker.project()));
    here(Command::new("tar").args(["-C", "three", "--owner=0", "--group=0", "-cf", "three.tar", "new"]));
    here(Command::new("umoci").args(["raw", "add-layer", "--image", "layout:x", "three.tar"]));
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--insecure-policy", "-q", "--dest-tls-verify=false", "--dest-no-creds", "oci:layout:x"]);
    here(skopeo.arg(format!("docker://{}/app:1", registry.name())));
}

fn copy_lock(from: &Devbox, to: &Devbox) {
    let text = fs::read_to_string(from.project().join("devbox.lock.toml")).expect("a lock file");
    to.file("devbox.lock.toml", text);
}

#[test]
fn a_moved_tag_moves_no_locked_box() {
    require!(Userns, Overlay, Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let registry = Registry::start();
    push(&registry, "first");
    let (first, second) = (Devbox::new(), Devbox::new());
    let profile = format!("image = \"{}/app:1\"\n[network]\nmode = \"none\"\n", registry.name());
    first.profile(&profile);
    second.profile(&profile);
    let content = |test: &Devbox, expected: &str| {
        test.args(["run", "--locked", "--", "cat", "/new"]).stdout(expected).any_stderr().run();
    };
    first.args(["lock"]).stdout("wrote devbox.lock.toml: 0 packages\n").any_stderr().run();
    content(&first, "first");
    push(&registry, "second");
    // On another machine, with the same lock file.
    copy_lock(&first, &second);
    content(&second, "first");
    let changed = second.args(["update", "--base"]).any_stdout().any_stderr().run().stdout;
    assert!(changed.starts_with("base: ") && changed.ends_with("updated devbox.lock.toml\n"), "{changed}");
    content(&second, "second");
    copy_lock(&second, &first);
    content(&first, "second");
    // What the first one stood on is garbage now, and so are its blobs; the layers are shared but for one.
    first.args(["stop"]).any_stdout().any_stderr().run();
    let freed = first.args(["gc"]).any_stdout().any_stderr().run().stdout;
    assert!(freed.starts_with("freed "), "{freed}");
    content(&first, "second");
    first.args(["check"]).any_stdout().any_stderr().run();
}

#[test]
fn what_a_build_begins_with_is_locked() {
    require!(Userns, Overlay, Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let registry = Registry::start();
    push(&registry, "first");
    let (first, second) = (Devbox::new(), Devbox::new());
    let containerfile = format!("FROM {}/app:1\nRUN cat /new /new >/twice\n", registry.name());
    for test in [&first, &second] {
        test.profile("[build]\n[network]\nmode = \"none\"\n").file("Containerfile", &containerfile);
    }
    let content = |test: &Devbox, expected: &str| {
        test.args(["run", "--locked", "--", "cat", "/twice"]).stdout(expected).any_stderr().run();
    };
    first.args(["lock"]).stdout("wrote devbox.lock.toml: 0 packages\n").any_stderr().run();
    content(&first, "firstfirst");
    push(&registry, "second");
    copy_lock(&first, &second);
    content(&second, "firstfirst");
    second.args(["update", "--base"]).any_stdout().any_stderr().run();
    content(&second, "secondsecond");

    // Other inputs are noticed before anything is built.
    let check = ["lock", "--check"];
    first.args(check).stdout("devbox.lock.toml fits the profile\n").run();
    first.file("Containerfile", format!("{containerfile}COPY --from=localhost/x:2 / /\nADD http://h.example/f /f\n"));
    let expected = "error: devbox.lock.toml does not fit the profile: localhost/x:2: is not in the lock file, \
                    http://h.example/f: is not in the lock file\nhint: `devbox lock` brings it up to date\n";
    first.args(check).stderr(expected).status(1).run();
    first.file("Containerfile", containerfile.replace("app:1", "app:2"));
    let said = first.args(check).status(1).any_stderr().run().stderr;
    assert!(said.contains("/app:2: is not in the lock file"), "{said}");
}

/// Commits `content` as the file `f` of the repository `repo.git` of `at`.
fn commit(at: &Devbox, content: &str) {
    at.file("repo.git/f", content);
    let script = "git init -q; git add f; git -c user.name=x -c user.email=x@x commit -qm x";
    run(Command::new("sh").args(["-ec", script]).current_dir(at.project().join("repo.git")));
}

#[test]
fn what_a_build_takes_from_elsewhere_is_locked() {
    require!(Userns, Overlay, Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("git"));
    let (registry, place) = (Registry::start(), Devbox::new());
    push(&registry, "first");
    commit(&place, "first");
    let server = FaultProxy::start(registry.port());
    let serve = |content: &str, etag: &str, times| {
        let headers = vec![format!("ETag: {etag}")];
        server.add("GET /file", Fault::Answer("200 OK", headers, content.to_owned()), times);
    };
    // For the first machine, and for the second.
    serve("first", "one", 2);
    serve("second", "two", 100);
    let repository = format!("file://{}/repo.git", place.project().display());
    let containerfile = format!(
        "FROM scratch\nCOPY --from={0}/app:1 / /\nENV NAME=file\nADD http://{1}/$NAME /from/\nADD {repository} /git\n",
        registry.name(),
        server.name()
    );
    let machine = || {
        let test = Devbox::new();
        test.profile("[build]\n[network]\nmode = \"none\"\n").file("Containerfile", &containerfile);
        test
    };
    let content = |test: &Devbox, expected: &str| {
        let cat = ["run", "--locked", "--", "/busybox", "cat", "/new", "/from/file", "/git/f"];
        test.args(cat).stdout(expected).any_stderr().run();
    };
    let first = machine();
    // Without a lock file, and with one that lacks something.
    let run = ["run", "--locked", "--", "true"];
    let said = first.args(run).status(125).any_stderr().run().stderr;
    assert!(said.contains("has no devbox.lock.toml"), "{said}");
    first.args(["lock"]).stdout("wrote devbox.lock.toml: 0 packages\n").any_stderr().run();
    let text = fs::read_to_string(first.project().join("devbox.lock.toml")).expect("a lock file");
    for part in ["[base.build]", "[base.files]", "/file\" = \"sha256:", "[base.commits]", "repo.git#HEAD\" = \""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    content(&first, "firstfirstfirst");

    push(&registry, "second");
    commit(&place, "second");
    first.args(["lock"]).stdout("devbox.lock.toml is up to date\n").any_stderr().run();
    content(&first, "firstfirstfirst");
    let second = machine();
    copy_lock(&first, &second);
    content(&second, "firstfirstfirst");
    let third = machine();
    copy_lock(&first, &third);
    let said = third.args(run).status(125).any_stderr().run().stderr;
    assert!(said.contains("is not what devbox.lock.toml names") && said.contains("devbox update --base"), "{said}");

    let changed = second.args(["update", "--base"]).any_stdout().any_stderr().run().stdout;
    assert_eq!(changed.lines().filter(|line| line.contains(" -> ")).count(), 3, "{changed}");
    content(&second, "secondsecondsecond");
    copy_lock(&second, &third);
    content(&third, "secondsecondsecond");
    let without = fs::read_to_string(second.project().join("devbox.lock.toml")).expect("a lock file");
    second.file("devbox.lock.toml", without.replace("/file\" =", "/other\" ="));
    second.args(["stop"]).any_stdout().any_stderr().run();
    let said = second.args(run).status(125).any_stderr().run().stderr;
    assert!(said.contains("/file` is not in devbox.lock.toml") && said.contains("`devbox lock` adds it"), "{said}");
    let said = second.args(["lock", "--check"]).status(1).any_stderr().run().stderr;
    let parts = ["/file: is not in the lock file", "/other: is not in the Containerfile"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    // More than the build takes: the lock file would change.
    let more = format!("[base.files]\n\"http://h.example/f\" = \"sha256:{:064}\"\n", 0);
    second.file("devbox.lock.toml", without.replace("[base.files]\n", &more));
    let said = second.args(run).status(125).any_stderr().run().stderr;
    assert!(said.contains("does not fit the profile: http://h.example/f: sha256:0"), "{said}");
}
