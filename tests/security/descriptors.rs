//! Ways out through what a process of the box might inherit.

use std::fs::{self, File};
use std::process::Stdio;

use crate::require;
use crate::support::devbox::Devbox;

#[test]
fn leaked_descriptors_cve_2024_21626() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    // The shell gives the descriptor to the client.
    let script = format!(
        "exec 7<{home}/secret 8>>{home}/secret; exec {devbox} run -- ls /proc/self/fd",
        home = test.home().display(),
        devbox = test.path("devbox").display()
    );
    let template = test.command(["run"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(test.project()).env_clear().stdin(Stdio::null());
    shell.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().expect("start a shell");
    // 3 is the directory that `ls` reads.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "{output:?}");
}

#[test]
fn leaked_working_directory_cve_2024_21626() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.path("secret"), "secret").expect("write a file");
    // Where every process of the box stands, and what lies above each of its descriptors.
    let script = "for link in /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/fd/*; do
            readlink $link 2>/dev/null | grep -v -E '^(/|pipe:|socket:|anon_inode:)'
            for up in .. ../.. ../../.. ../../../..; do ls -A $link/$up 2>/dev/null | grep -x -E 'secret'; done
        done; echo end";
    test.sh(script).stdout("end\n").run();
}

#[test]
fn a_descriptor_as_working_directory_cve_2024_21626() {
    require!(Userns, Overlay);
    let test = Devbox::new();
    test.root_with_busybox("root");
    fs::write(test.path("secret"), "secret").expect("write a file");
    // An image that wants its programs to start where a forgotten descriptor leads.
    let mut file = String::from("FROM scratch\nCOPY root /\nENV PATH=/bin\n");
    for number in 3..10 {
        file += &format!(
            "WORKDIR /proc/self/fd/{number}\nRUN for up in . .. ../.. ../../.. ../../../..; do ls -A $up 2>/dev/null; done >>/found; true\n"
        );
    }
    test.file("Containerfile", file);
    test.profile("[build]\n[network]\nmode = \"none\"\n");
    let output = test.args(["run", "--", "cat", "/found"]).any_stdout().any_stderr().run();
    assert!(output.stdout.contains("bin\n"), "{output:?}");
    for name in ["secret", "project", "home"] {
        assert!(output.stdout.lines().all(|line| line != name), "{name}: {}", output.stdout);
    }
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
    let mut command = test.command(["run", "--", "sh", "-c", "echo after; readlink /proc/self/fd/1 >&2"]);
    let file = File::options().append(true).open(test.path("out")).expect("open a file");
    let output = command.stdin(Stdio::null()).stdout(file).output().expect("start the binary");
    assert_eq!(fs::read_to_string(test.path("out")).expect("read a file"), "before\nafter\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("pipe:"), "{output:?}");
}
