//! Texts of others on their way to the terminal: each comes from a place that a box, an image, a registry or a repository
//! can write to, and holds sequences that would steer the terminal. Whatever prints it must print it harmless; and must print it, or
//! the test would look at nothing.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use crate::require;
use crate::support::devbox::Devbox;

/// Sets the title, clears the screen, reorders a line and hides a character.
const EVIL: &str = "EVIL\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\u{7f}";

/// As JSON and TOML write it.
const ESCAPED: &str = r"EVIL\u001b]0;owned\u0007\u001b[2J\u009b31m\u202e\u200b\u007f";

/// Runs each command: what it prints names the text, and cannot steer anything.
fn all_harmless(test: &Devbox, commands: &[&[&str]]) {
    for command in commands {
        let output = test.args(*command).any_stdout().any_stderr().output();
        let shown = output.stdout + &output.stderr;
        assert!(shown.contains("EVIL"), "{command:?} does not show it: {shown:?}");
        harmless(&format!("{command:?}"), &shown);
    }
}

fn harmless(what: &str, shown: &str) {
    let steers = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    assert!(!shown.contains(steers), "{what}: {shown:?}");
}

/// The directory of the only box.
fn box_directory(test: &Devbox) -> PathBuf {
    test.boxes().pop().unwrap()
}

#[test]
fn escapes_in_images() {
    let test = Devbox::host();
    let containerfile = format!(
        "FROM scratch\nLABEL a=\"{EVIL}\" \"{EVIL}\"=b\nENV A=\"{EVIL}\"\nMAINTAINER {EVIL}\n\
         USER \"{EVIL}\"\nCMD [\"{ESCAPED}\"]\n"
    );
    test.file("c/Containerfile", &containerfile);
    for progress in ["plain", "json"] {
        let build = ["image", "build", "--tag", "evil", "--no-cache", "--progress", progress, "c"];
        let built = test.args(build).any_stdout().any_stderr().output();
        assert!(built.status.success());
        harmless(progress, &(built.stdout + &built.stderr));
    }
    all_harmless(
        &test,
        &[
            &["image", "inspect", "evil"],
            &["image", "history", "evil"],
            &["image", "history", "evil", "--format", "json"],
        ],
    );
}

#[test]
fn escapes_in_containerfiles() {
    let test = Devbox::host();
    for text in [
        format!("FROM scratch\n{EVIL} x\n"),
        format!("FROM scratch\nCOPY {EVIL} /\n"),
        format!("FROM {EVIL}\n"),
        format!("FROM scratch\nCOPY --from={EVIL} a /\n"),
        format!("# check=skip={EVIL}\nFROM scratch\nENV ${{{EVIL}:x}}\n"),
    ] {
        test.file("c/Containerfile", &text);
        for command in [&["image", "build", "--check", "c"][..], &["image", "build", "c"]] {
            let output = test.args(command).any_stdout().any_stderr().output();
            let shown = output.stdout + &output.stderr;
            harmless(&format!("{command:?} of {text:?}"), &shown);
            assert!(shown.contains("EVIL") || output.status.success(), "{command:?} of {text:?}: {shown:?}");
        }
    }
}

#[test]
fn escapes_in_what_registries_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap();
    let body = format!(r#"{{"errors":[{{"code":"{ESCAPED}","message":"{ESCAPED}","detail":"{ESCAPED}"}}]}}"#);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let size = stream.read(&mut request).unwrap_or(0);
            // What is asked for chooses the answer.
            let (status, extra) = match String::from_utf8_lossy(&request[..size]) {
                text if text.contains("/denied/") => ("403 EVIL", String::new()),
                text if text.contains("/login/") => {
                    ("401 no", format!("WWW-Authenticate: {EVIL} realm=\"{EVIL}\"\r\n"))
                }
                text if text.contains("/moved/") => ("307 there", format!("Location: http://{EVIL}/\r\n")),
                _ => ("404 no", format!("Content-Type: {EVIL}\r\nDocker-Content-Digest: {EVIL}\r\n")),
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n{body}");
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    let test = Devbox::host();
    for name in ["denied", "login", "moved", "broken"] {
        let image = format!("{registry}/{name}/image:latest");
        let output = test.args(["image", "pull", &image]).any_stdout().any_stderr().output();
        assert!(!output.status.success());
        harmless(name, &(output.stdout + &output.stderr));
    }
    all_harmless(&test, &[&["image", "pull", &format!("{registry}/denied/image")]]);
}

#[test]
fn escapes_in_names_of_the_project() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let folder = test.project().join(EVIL);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("devbox.toml"), "name = \"plain\"\nbase = \"host\"\n[network]\nmode = \"none\"\n").unwrap();
    // A branch that is called so.
    fs::create_dir_all(folder.join(".git/refs/heads")).unwrap();
    fs::write(folder.join(".git/HEAD"), format!("ref: refs/heads/{EVIL}\n")).unwrap();
    fs::write(folder.join(".git/refs/heads").join(EVIL), format!("{:040}\n", 1)).unwrap();
    let folder = folder.to_str().unwrap();
    test.args(["-C", folder, "run", "--", "true"]).any_stderr().run();
    all_harmless(
        &test,
        &[
            &["list"],
            &["-C", folder, "status"],
            &["-C", folder, "profile", "show"],
            &["-C", folder, "run", "--dry-run", "--", "true"],
            &["-C", folder, "run", "--", EVIL],
            &["-C", folder, "run", EVIL],
            &["list", "--format", "json"],
            &["-C", &format!("{folder}/missing"), "status"],
        ],
    );
    test.args(["-C", folder, "rm"]).any_stdout().any_stderr().run();
}

#[test]
fn escapes_in_profiles() {
    let test = Devbox::host();
    for profile in [
        format!("\"{ESCAPED}\" = 1\n"),
        format!("name = 1 # {EVIL}\n"),
        format!("{EVIL}\n"),
        format!("base = \"{ESCAPED}\"\n"),
        format!("name = \"{ESCAPED}\"\n"),
        format!("packages = [\"{ESCAPED}\"]\n"),
        format!("user = \"{ESCAPED}\"\n"),
        format!("base = \"host\"\n[tasks]\n\"{ESCAPED}\" = \"true\"\n"),
        format!("base = \"host\"\n[tasks]\na = \"{ESCAPED}\"\n"),
        format!("base = \"host\"\n[hooks]\nenter = [\"echo {ESCAPED}\"]\n"),
        format!("base = \"host\"\n[env]\nset = {{ A = \"{ESCAPED}\" }}\n"),
        format!("base = \"host\"\n[env]\nA = \"{ESCAPED}\"\n"),
        format!("base = \"host\"\n[network]\negress = [\"{ESCAPED}\"]\n"),
        format!("base = \"host\"\n[security]\nseccomp = {{ allow = [\"{ESCAPED}\"] }}\n"),
        format!("base = \"host\"\n[share]\ndbus = [\"{ESCAPED}\"]\n"),
        format!("base = \"host\"\n[[mounts]]\nsource = \"/{ESCAPED}\"\ntarget = \"/x\"\n"),
    ] {
        test.profile(&profile);
        for command in [&["profile", "show"][..], &["profile", "trust"], &["profile", "check"]] {
            let output = test.args(command).any_stdout().any_stderr().output();
            harmless(&format!("{command:?} of {profile:?}"), &(output.stdout + &output.stderr));
        }
        all_harmless(&test, &[&["profile", "show"]]);
    }
}

#[test]
fn escapes_in_devcontainers() {
    let test = Devbox::host();
    for text in [
        format!(r#"{{"name":"{ESCAPED}","image":"{ESCAPED}"}}"#),
        format!(r#"{{"image":"debian","features":{{"{ESCAPED}":{{}}}}}}"#),
        format!(r#"{{"image":"debian","postCreateCommand":"{ESCAPED}","remoteEnv":{{"A":"{ESCAPED}"}}}}"#),
        format!(r#"{{"image":"debian","{ESCAPED}":1}}"#),
        format!(r#"{{"image":"debian","mounts":["{ESCAPED}"]}}"#),
        format!(r#"{{"image": {EVIL}}}"#),
    ] {
        test.file(".devcontainer/devcontainer.json", &text);
        for command in [&["profile", "show"][..], &["profile", "trust"], &["run", "--dry-run", "--", "true"]] {
            let output = test.args(command).any_stdout().any_stderr().output();
            harmless(&format!("{command:?} of {text:?}"), &(output.stdout + &output.stderr));
        }
    }
    // Of several files the names are shown.
    test.file(&format!(".devcontainer/{EVIL}/devcontainer.json"), "{\"image\":\"debian\"}");
    let output = test.args(["profile", "show"]).any_stdout().any_stderr().output();
    harmless("names", &(output.stdout + &output.stderr));
}

#[test]
fn escapes_in_logs_of_the_box() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    // Its programs choose their names, and the texts of refused calls.
    let call = libc::SYS_mount;
    let script = format!("$0 = \"EVIL\\e[2J\"; my $t = \"{EVIL}\"; syscall({call}, $t, $t, $t, 0, 0);");
    test.args(["run", "--", "perl", "-e", &script]).any_stderr().run();
    test.sh(&format!("touch '/root/{EVIL}'")).any_stderr().run();
    // What it asked for in the network.
    let line = |verdict: &str, name: &str| {
        format!(
            r#"{{"time":"2026-01-01T00:00:00Z","traffic":{{"verdict":"{verdict}","protocol":"dns","name":"{name}"}},"process":{{"pid":1,"command":"{name}"}}}}"#
        )
    };
    let log = box_directory(&test).join("log/net.jsonl");
    fs::write(&log, format!("{}\n{}\n", line("allowed", ESCAPED), line("denied", ESCAPED))).unwrap();
    all_harmless(&test, &[&["net", "log"], &["log", "denied"], &["diff"]]);
    for command in [&["net", "log"][..], &["log", "denied"], &["diff"]] {
        all_harmless(&test, &[&[command, &["--format", "json"]].concat()]);
    }
    fs::write(&log, "").unwrap();
}
