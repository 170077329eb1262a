//! Ways out through what a process of the box might inherit.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};

use crate::require;
use crate::support::devbox::Devbox;

/// The output of the binary with `arguments`, which has inherited a directory, a file to read and one to append to.
fn inheriting(test: &Devbox, arguments: &str) -> Output {
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    let script = format!(
        "exec 7<{home} 8>>{home}/secret 9<{home}/secret; exec {devbox} {arguments}",
        home = test.home().display(),
        devbox = test.path("devbox").display()
    );
    let template = test.command(["run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(test.project()).env_clear().stdin(Stdio::null());
    shell.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.output().expect("start a shell")
}

#[test]
fn leaked_descriptors_cve_2024_21626() {
    require!(Userns, Overlay);
    let output = inheriting(&Devbox::host(), "run -- ls /proc/self/fd");
    // 3 is the directory that `ls` reads.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "{output:?}");
}

#[test]
fn leaked_directory_cve_2024_21626() {
    require!(Userns, Overlay);
    // Where every process of the box stands, and what lies above each of its descriptors.
    let script = "for link in /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/fd/*; do
            readlink $link 2>/dev/null | grep -v -E '^(/|pipe:|socket:|anon_inode:)'
            for up in . .. ../.. ../../.. ../../../..; do ls -A $link/$up 2>/dev/null | grep -x secret; done
        done; echo end";
    let output = inheriting(&Devbox::host(), &format!("run -- sh -c '{}'", script.replace('\'', "'\\''")));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n", "{output:?}");
}

#[test]
fn a_descriptor_as_working_directory_cve_2024_21626() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    test.root_with_busybox("root");
    // An image that wants its programs to start where a forgotten descriptor leads.
    let mut file = String::from("FROM scratch\nCOPY root /\nENV PATH=/bin\n");
    for number in 3..12 {
        file += &format!(
            "WORKDIR /proc/self/fd/{number}\nRUN for up in . .. ../.. ../../.. ../../../..; do ls -A $up 2>/dev/null; done >>/found; true\n"
        );
    }
    test.file("Containerfile", file);
    test.profile("[build]\n[network]\nmode = \"none\"\n");
    let output = inheriting(&test, "run -- cat /found");
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("bin\n"), "{output:?}");
    assert!(found.lines().all(|line| !["secret", "project", "home"].contains(&line)), "{found}");
}

#[test]
fn a_directory_as_standard_input() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    let mut command = test.command([
        "run",
        "--",
        "sh",
        "-c",
        "ls -A /proc/self/fd/0/; cat /proc/self/fd/0/secret; readlink /proc/self/fd/0",
    ]);
    let output = command.stdin(File::open(test.home()).expect("open a directory")).output().expect("start the binary");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!shown.contains("secret") && !shown.contains("home"), "{output:?}");
}

#[test]
fn opening_an_output_file_again() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.path("out"), "before\n").expect("write a file");
    let mut command = test.command(["run", "--", "sh", "-c", "echo after; exec 3>&1; readlink /proc/self/fd/3 >&2"]);
    let file = File::options().append(true).open(test.path("out")).expect("open a file");
    let output = command.stdin(Stdio::null()).stdout(file).output().expect("start the binary");
    assert_eq!(fs::read_to_string(test.path("out")).expect("read a file"), "before\nafter\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("pipe:"), "{output:?}");
}
