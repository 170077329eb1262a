//! `devbox image login` and `logout`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::registry::{User, push, reference};
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::{Options, Registry, run};

const GUARDED: Options = Options { login: Some(("me", "pass word")), tls: false, knows_clients: false };

#[test]
fn a_login_is_checked_and_kept_where_others_look() {
    require!(Program("docker-registry"), Program("htpasswd"), Program("skopeo"));
    let (registry, test) = (Registry::with(GUARDED), Devbox::new());
    let name = registry.name();
    let login = || test.args(["image", "login", "-u", "me", "--password-stdin", &name]);
    let file = test.home().join(".docker/config.json");
    login()
        .stdin("wrong\n")
        .status(1)
        .stderr(format!(
            "error: cannot log in to `{name}`\n  cause: `{name}` refuses the login of `me` from what was given: authentication required (UNAUTHORIZED)\n\
             hint: look for a mistake in the user or the password; many registries want a token instead\n"
        ))
        .run();
    assert!(!file.exists(), "a wrong login is not kept");
    login()
        .stdin("pass word\n")
        .stdout(format!("logged in to `{name}` as `me`, kept in `[TEST]/home/.docker/config.json`\n"))
        .run();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["login", "--get-login", &name]).env("HOME", test.home()).env("XDG_RUNTIME_DIR", test.path("run"));
    assert_eq!(run(skopeo.env_remove("REGISTRY_AUTH_FILE")), "me\n");

    let logout = || test.args(["image", "logout", &format!("http://{name}/v2/")]);
    logout().stdout(format!("removed the login for `{name}` from `[TEST]/home/.docker/config.json`\n")).run();
    logout().stdout(format!("not logged in to `{name}`\n")).run();
}

#[test]
fn logins_of_podman_are_found_and_forgotten() {
    require!(Program("docker-registry"), Program("htpasswd"), Program("skopeo"));
    let (registry, test) = (Registry::with(GUARDED), Devbox::new());
    let name = registry.name();
    let file = test.path("run/containers/auth.json");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["login", "--tls-verify=false", "-u", "me", "-p", "pass word", "--authfile"]).arg(&file).arg(&name);
    run(&mut skopeo);
    let user = User::with_home(&test.home());
    let image = reference(&name, "app:1");
    assert!(user.client().manifest(&image).is_err(), "this process has another `XDG_RUNTIME_DIR`");
    test.args(["image", "logout", &name])
        .stdout(format!("removed the login for `{name}` from `[TEST]/run/containers/auth.json`\n"))
        .run();
}

#[test]
fn helpers_keep_logins() {
    require!(Program("docker-registry"), Program("htpasswd"));
    let (registry, mut test) = (Registry::with(GUARDED), Devbox::new());
    let name = registry.name();
    let (bin, kept) = (test.path("bin"), test.path("kept"));
    fs::create_dir(&bin).unwrap();
    let program = bin.join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\ncase $1 in\n\
         store) cat >'{0}' ;;\n\
         get) read -r server; [ -e '{0}' ] || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat '{0}' ;;\n\
         erase) rm '{0}' ;;\nesac\n",
        kept.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(test.home().join(".docker")).unwrap();
    let config = format!("{{\"credHelpers\": {{\"{name}\": \"test\"}}}}");
    fs::write(test.home().join(".docker/config.json"), &config).unwrap();
    test.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let logout = || test.args(["image", "logout", &name]);
    logout().stdout(format!("not logged in to `{name}`\n")).run();
    test.args(["image", "login", "-u", "me", "--password-stdin", &name])
        .stdin("pass word")
        .stdout(format!("logged in to `{name}` as `me`, kept in the credential helper `test`\n"))
        .run();
    assert_eq!(
        fs::read_to_string(&kept).unwrap(),
        format!("{{\"ServerURL\":\"{name}\",\"Username\":\"me\",\"Secret\":\"pass word\"}}")
    );
    assert_eq!(fs::read_to_string(test.home().join(".docker/config.json")).unwrap(), config);
    logout().stdout(format!("removed the login for `{name}` from the credential helper `test`\n")).run();
    assert!(!kept.exists());
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    require!(Program("docker-registry"), Program("htpasswd"));
    let (registry, test) = (Registry::with(GUARDED), Devbox::new());
    let name = registry.name();
    let mut terminal = test.terminal(["image", "login", &name], 24, 100);
    terminal.wait_for_text("user of");
    terminal.send("me\r");
    terminal.wait_for_text("password or token:");
    terminal.send("pass wordx\u{7f}\r");
    terminal.wait_for_text("logged in to");
    assert!(terminal.wait_exit().success());
    assert!(!terminal.screen().contents().contains("pass word"), "the password is on the screen");
    let client = User::with_home(&test.home()).client();
    push(&client, &reference(&name, "app:1"), b"layer");
}

#[test]
fn what_is_no_registry_is_said() {
    let test = Devbox::new();
    for (name, shown) in [("no/registry", "no/registry"), ("", ""), ("word", "word")] {
        let output = test.args(["image", "logout", name]).status(1).any_stderr().run();
        assert!(output.stderr.starts_with(&format!("error: `{shown}` is no registry (`host` or `host:port`)\n")));
    }
    test.args(["image", "login", "--password-stdin"]).status(2).any_stderr().run();
    test.args(["image", "login"])
        .status(1)
        .stderr(
            "error: nobody can be asked for the password without a terminal\n\
             hint: `devbox image login -u USER --password-stdin` reads it from standard input\n",
        )
        .run();
}
