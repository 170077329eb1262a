//! Where devbox keeps its files, and what happens when it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::devbox::Devbox;

#[test]
fn config_tells_the_places() {
    let test = Devbox::new();
    let expected = "config    [TEST]/home/.config/devbox/config.toml\n\
                    profiles  [TEST]/home/.config/devbox/profiles\n\
                    data      [TEST]/home/.local/share/devbox\n\
                    cache     [TEST]/home/.cache/devbox\n\
                    runtime   [TEST]/run/devbox\n";
    test.args(["config"]).stdout(expected).run();
    let json = test.args(["config", "--format", "json"]).any_stdout().run().stdout;
    let places: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(places["data"], "[TEST]/home/.local/share/devbox");
}

#[test]
fn a_runtime_directory_of_others_is_not_used() {
    let test = Devbox::new();
    fs::set_permissions(test.path("run"), fs::Permissions::from_mode(0o777)).expect("chmod");
    let stdout = test.args(["config"]).any_stdout().run().stdout;
    assert!(stdout.ends_with("runtime   [TEST]/home/.local/share/devbox/run\n"), "{stdout}");
}

#[test]
fn without_home_the_password_database_tells() {
    let test = Devbox::new();
    let mut command = test.command(["config"]);
    command.env_remove("HOME").env_remove("XDG_CONFIG_HOME");
    let output = command.output().expect("run the binary");
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.starts_with("config    /"), "{stdout}");
}

#[test]
fn a_relative_home_is_none() {
    let output = Devbox::new().args(["config"]).env("HOME", "home").status(1).any_stderr().run();
    assert!(output.stderr.starts_with("error: cannot tell the home directory"), "{}", output.stderr);
    assert!(output.stderr.ends_with("\nhint: set `HOME`\n"), "{}", output.stderr);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_refused() {
    crate::require!(Ordinary);
    let test = Devbox::new();
    let stderr = test.args(["run", "--", "true"]).env("XDG_DATA_HOME", "/etc").status(125).any_stderr().run().stderr;
    assert!(stderr.starts_with("error: cannot create `/etc/devbox"), "{stderr}");
}

#[test]
fn a_foreign_data_directory_is_refused() {
    crate::require!(Root);
    let test = Devbox::new();
    fs::create_dir_all(test.data()).expect("a directory");
    std::os::unix::fs::chown(test.data(), Some(1), Some(1)).expect("chown");
    let expected = "error: `[TEST]/home/.local/share/devbox` belongs to uid 1, not to the invoking user\n\
                    hint: set `XDG_DATA_HOME` to a directory of your own, or `HOME` after `su` and `sudo`\n";
    let stderr = test.args(["run", "--", "true"]).status(125).any_stderr().run().stderr;
    assert_eq!(stderr, expected);
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let test = Devbox::new();
    fs::write(test.home().join(".local"), "").expect("write a file");
    let expected =
        "error: cannot list `[TEST]/home/.local/share/devbox/boxes`\n  cause: Not a directory (os error 20)\n";
    test.args(["list"]).status(1).stderr(expected).run();
}

#[test]
fn a_folder_that_is_gone_is_said_only_where_it_matters() {
    let test = Devbox::new();
    let gone = "cannot enter `gone`: No such file or directory (os error 2)\n\
        hint: `-C` takes a folder that is there, and that you may enter\n";
    test.args(["-C", "gone", "status"]).status(1).stderr(format!("error: {gone}")).run();
    test.args(["-C", "gone", "run", "--", "true"]).status(125).stderr(format!("error: {gone}")).run();
    // A shell whose folder is removed below it.
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", "mkdir x && cd x && rmdir ../x && \"$0\" list && \"$0\" config >/dev/null && \"$0\" run -- true"]);
    let command = test.command(["list"]);
    shell.arg(command.get_program()).current_dir(test.project()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().expect("run a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no boxes\n");
    assert_eq!(output.status.code(), Some(125));
    assert!(output.stderr.starts_with(b"error: cannot tell the current folder\nhint: `cd` somewhere"), "{output:?}");
}
