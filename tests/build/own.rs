//! What `buildah` of Debian 12 does not know, or does in another way than docker; and the cache.

use super::pair::{built, context, devbox_with_base};
use super::tree::Tree;
use crate::support::devbox::Devbox;

/// Builds `file` on the base with the usual context, and gives what came of it.
pub fn build(test: &Devbox, file: &str, options: &[&str]) -> (Tree, serde_json::Value, String) {
    let place = tempfile::tempdir().expect("a directory");
    context(place.path(), "");
    std::fs::write(place.path().join("Containerfile"), format!("FROM localhost/base\n{file}")).expect("a file");
    let run = test.args(["image", "build", "-t", "localhost/it"]).arg(place.path());
    let output = options.iter().fold(run, |run, option| run.arg(option)).any_stdout().any_stderr().run();
    let (tree, config) = built(test, "it");
    (tree, config, output.stderr)
}

/// The content of a file, as the table has it.
pub fn content(tree: &Tree, path: &str) -> String {
    let text = tree.get(std::path::Path::new(path)).unwrap_or_else(|| panic!("no {path} in {tree:#?}"));
    text.split('"').nth(1).unwrap_or_default().to_owned()
}

pub fn has(tree: &Tree, path: &str) -> bool {
    tree.contains_key(std::path::Path::new(path))
}

#[test]
fn heredocs() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let (tree, _, _) = build(
        &test,
        "ENV A=value\nCOPY <<one <<'two' /srv/\n$A\none\n$A\ntwo\nRUN <<EOF\necho a > /a\necho b > /b\nEOF\n\
         RUN <<EOF\n#!/bin/ash\necho $0 > /c\nEOF\nRUN cat <<EOF > /d\nline\nEOF\n",
        &[],
    );
    assert_eq!(content(&tree, "srv/one"), "value\\n");
    assert_eq!(content(&tree, "srv/two"), "$A\\n");
    assert_eq!((content(&tree, "a"), content(&tree, "b")), ("a\\n".into(), "b\\n".into()));
    assert_eq!(content(&tree, "c"), "/dev/pipes/EOF\\n");
    assert_eq!(content(&tree, "d"), "line\\n");
}

#[test]
fn no_step_waits_for_the_disk() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let (tree, _, _) = build(&test, "RUN grep -c '^[^ ]* / overlay .*volatile' /proc/mounts > /count\n", &[]);
    assert_eq!(content(&tree, "count"), "1\\n");
}

#[test]
fn flags_of_copy() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let (tree, config, _) = build(
        &test,
        "COPY --link a.txt /linked/\nCOPY --parents dir/sub/z /p/\nCOPY --parents dir/./sub /q/\n\
         COPY --exclude=*.txt --exclude=sub dir /e\nCOPY --chmod=u=rw,go=r run.sh /r\nCOPY [\"[[]odd]\", \"/srv/\"]\n\
         EXPOSE 8000-8001\nSHELL [\"/bin/ash\", \"-c\"]\nCMD x\n",
        &[],
    );
    assert_eq!(content(&tree, "linked/a.txt"), "a\\n");
    assert!(has(&tree, "p/dir/sub/z") && has(&tree, "q/sub/z.txt") && !has(&tree, "q/dir"));
    assert!(has(&tree, "e/x") && !has(&tree, "e/y.txt") && !has(&tree, "e/sub"));
    assert!(tree[std::path::Path::new("r")].contains(" 644 "));
    assert!(has(&tree, "srv/[odd]"));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"8000/tcp": {}, "8001/tcp": {}}));
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/ash", "-c", "x"]));
}

#[test]
fn mounts_leave_nothing_behind() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    test.file("token", "s3cret");
    let secret = format!("id=token,src={}", test.project().join("token").display());
    let file = "FROM localhost/base AS other\nRUN echo other > /o\nFROM localhost/base\n\
        RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token [ $TOKEN = s3cret ] && \
        [ $(cat /run/secrets/token) = s3cret ] && stat -c %a /run/secrets/token > /mode\n\
        RUN --mount=type=bind,target=/ctx --mount=type=bind,from=other,source=/o,target=/m/o cat /ctx/a.txt /m/o > /both && \
        ! touch /ctx/no 2>/dev/null\n\
        RUN --mount=type=bind,target=/ctx,rw echo new > /ctx/a.txt && cat /ctx/a.txt > /written\n\
        RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x\n\
        RUN --mount=type=cache,target=/cache date +%N >> /cache/n && wc -l < /cache/n > /count\n\
        RUN --mount=type=cache,target=/cache,sharing=locked date +%N >> /cache/n && wc -l < /cache/n > /count2\n\
        RUN --network=none ip link | grep -c ': ' > /links || cat /proc/net/dev | wc -l > /links\n";
    let (tree, _, _) = build(&test, file, &["--secret", &secret]);
    assert_eq!(content(&tree, "both"), "a\\nother\\n");
    assert_eq!(content(&tree, "written"), "new\\n");
    assert_eq!((content(&tree, "count"), content(&tree, "count2")), ("1\\n".into(), "2\\n".into()));
    assert_eq!(content(&tree, "mode"), "400\\n");
    for gone in ["ctx", "m", "t", "cache", "run/secrets", "dev/pipes", "dev/null", "etc/apt"] {
        assert!(!has(&tree, gone), "{gone}");
    }
    let error = test.args(["image", "build", "--no-cache"]).arg(missing_secret()).status(1).any_stderr().run().stderr;
    assert!(error.contains("was not given the secret `x`") && error.contains("--secret id=x"), "{error}");
}

fn missing_secret() -> std::path::PathBuf {
    let place = tempfile::tempdir().expect("a directory").keep();
    let file = "FROM localhost/base\nRUN --mount=type=secret,id=x,required true\n";
    std::fs::write(place.join("Containerfile"), file).expect("a file");
    place
}

#[test]
fn an_unchanged_build_does_nothing() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let place = test.project().join("context");
    context(&place, "node_modules\n");
    let mut file =
        String::from("FROM localhost/base AS one\nRUN date +%N > /stamp\nCOPY dir /d\nFROM localhost/base\n");
    file.push_str("COPY --from=one /stamp /stamp\nCOPY . /all\nWORKDIR /w\nENV A=1\nRUN date +%N > /s2\n");
    for number in 0..4 {
        file.push_str(&format!("RUN echo {number} >> /n\n"));
    }
    std::fs::write(place.join("Containerfile"), file).expect("a file");
    let build = || {
        let output = test.args(["image", "build", "-t", "localhost/it"]).arg(&place).any_stdout().any_stderr().run();
        (output.stdout, output.stderr)
    };
    let (first, _) = build();
    let (second, said) = build();
    assert_eq!(first, second);
    // But for the two bases, nothing is done.
    let ended = |how: &str| said.lines().filter(|line| line.contains(how)).count();
    assert_eq!((ended(" done "), ended(" cached")), (2, 10), "{said}");
    // Times do not matter, contents do; what the ignore file leaves out does not.
    std::fs::write(place.join("node_modules/new"), "x").expect("a file");
    let later = std::time::SystemTime::now();
    std::fs::File::open(place.join("a.txt")).expect("a file").set_modified(later).expect("a time");
    assert_eq!(build().0, first);
    std::fs::write(place.join("a.txt"), "other").expect("a file");
    let (third, said) = build();
    assert_ne!(third, first);
    assert!(said.contains("cached") && said.contains("done"), "{said}");
}

#[test]
fn failures_say_where() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    for (file, expected) in [
        ("RUN echo first && \\\n  exit 7\n", "the command ended with status 7\n --> "),
        ("COPY nothing /\n", "`nothing` does not exist"),
        ("COPY a.txt b.txt /x\n", "with several sources the destination must be a directory"),
        ("COPY --chown=who a.txt /x\n", "there is no user or group `who` in the image"),
        ("RUN [\"/no/such\"]\n", "no such program"),
        ("COPY --from=nowhere.invalid/x /a /\n", "nowhere.invalid"),
        ("FRUM x\n", "unknown instruction `FRUM`"),
    ] {
        let place = tempfile::tempdir().expect("a directory");
        context(place.path(), "");
        std::fs::write(place.path().join("Containerfile"), format!("FROM localhost/base\n{file}")).expect("a file");
        let error = test.args(["image", "build"]).arg(place.path()).status(1).any_stderr().run().stderr;
        assert!(error.contains(expected) && error.contains("Containerfile:2:"), "{error}");
    }
}

#[test]
fn triggers_contexts_and_archives() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    build(&test, "ONBUILD RUN echo triggered > /t\nONBUILD COPY a.txt /ta\n", &[]);
    test.file("next/Containerfile", "FROM localhost/it\n").file("next/a.txt", "next");
    test.args(["image", "build", "-t", "localhost/next", "next"]).any_stdout().any_stderr().run();
    let (tree, config) = built(&test, "next");
    assert_eq!((content(&tree, "t"), content(&tree, "ta")), ("triggered\\n".into(), "next".into()));
    assert!(config["OnBuild"].is_null());

    let given = "FROM localhost/base\nRUN echo stdin > /s\nCOPY --from=more /a.txt /m\n";
    let more = format!("more={}", test.project().join("next").display());
    test.args(["image", "build", "-t", "localhost/stdin", "--build-context", &more, "-"])
        .stdin(given)
        .any_stdout()
        .any_stderr()
        .run();
    let (tree, _) = built(&test, "stdin");
    assert_eq!((content(&tree, "s"), content(&tree, "m")), ("stdin\\n".into(), "next".into()));

    let json =
        test.args(["image", "build", "--progress", "json", "--no-cache", "next"]).any_stdout().any_stderr().run();
    for line in json.stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["event"].is_string() && event["step"]["number"].is_number(), "{line}");
    }
}

#[test]
fn repositories() {
    crate::require!(Userns, Overlay, Program("git"));
    let test = devbox_with_base();
    let script = "git init -q repo.git && cd repo.git && echo one > f && mkdir d && echo two > d/g \
        && printf 'FROM localhost/base\\nCOPY . /all\\n' > Containerfile && git add . \
        && git -c user.name=x -c user.email=x@x commit -qm x";
    assert!(
        std::process::Command::new("sh")
            .current_dir(test.project())
            .args(["-ec", script])
            .status()
            .expect("sh")
            .success()
    );
    let url = format!("file://{}/repo.git", test.project().display());
    let (tree, _, _) = build(&test, &format!("ADD {url} /r\nADD {url}#:d /s\n"), &[]);
    assert_eq!((content(&tree, "r/f"), content(&tree, "s/g")), ("one\\n".into(), "two\\n".into()));
    assert!(!has(&tree, "r/.git"));
    test.args(["image", "build", "-t", "localhost/git", &url]).any_stdout().any_stderr().run();
    assert_eq!(content(&built(&test, "git").0, "all/d/g"), "two\\n");
}

#[test]
fn a_profile_builds_its_base() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    test.profile("[build]\ncontext = \"image\"\nargs = { V = \"1\" }\n[network]\nmode = \"none\"\n")
        .file("image/Containerfile", "FROM localhost/base\nARG V\nENV FROM_IMAGE=yes\nRUN echo made $V > /made\n");
    let run = || test.args(["run", "--", "cat", "/made"]).any_stderr().any_stdout().run();
    let first = run();
    assert_eq!(first.stdout, "made 1\n");
    assert!(first.stderr.contains("RUN echo made"), "{}", first.stderr);
    let second = run();
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("made 1\n", ""));
    test.file("image/Containerfile", "FROM localhost/base\nRUN echo other > /made\n");
    assert_eq!(run().stdout, "other\n");
    let shown = test.args(["profile", "show"]).any_stdout().run().stdout;
    assert!(shown.contains("[build]\ncontext = \"image\""), "{shown}");
    std::os::unix::fs::symlink("..", test.project().join("out")).expect("a link");
    test.profile("[build]\ncontext = \"out\"\n");
    let error = test.args(["run", "--", "true"]).status(125).any_stderr().run().stderr;
    assert!(error.contains("leads out of the project"), "{error}");
}
