//! The real Visual Studio Code, in its open web build and a real browser, with the settings that devbox wrote.

use std::process::Stdio;

use crate::require;
use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::programs::ended;
use crate::support::{fixture, node_modules};

const SERVER: &str = "../vscode/out/server-main.js";
const SETTINGS: &str = "{\n    // what the team agreed on\n    \"workbench.startupEditor\": \"none\",\n}\n";

#[test]
fn terminals_and_tasks_of_the_editor_are_in_the_box() {
    require!(Userns, Overlay, Program("node"), Program("chromium"), Node("puppeteer-core"), Node("../vscode"));
    let test = Devbox::host();
    test.profile("name = \"shop\"\nbase = \"host\"\n[network]\nmode = \"none\"\n[tasks]\nstage = \"id -u > staged\"\n");
    test.file(".vscode/settings.json", SETTINGS);
    test.args(["editor", "setup", "vscode"]).any_stderr().run();
    // Where the editor looks for programs: what a login shell says.
    std::fs::write(test.home().join(".profile"), format!("PATH=\"{}:$PATH\"\n", test.path("").display()))
        .expect("a file");

    let packages = node_modules().expect("packages");
    let mut server = test.program("node");
    server.env("SHELL", "/bin/bash").stderr(Stdio::null());
    server.arg(packages.join(SERVER)).args(["--host", "127.0.0.1", "--port", "0", "--without-connection-token"]);
    server
        .args(["--accept-server-license-terms", "--disable-workspace-trust", "--server-data-dir"])
        .arg(test.path("data"));
    let mut server = Background::start(server);
    let port = loop {
        let line = server.line();
        if let Some(port) = line.strip_prefix("Extension host agent listening on ") {
            break port.to_owned();
        }
    };

    let mut person = test.program("node");
    person
        .arg(fixture("vscode.js"))
        .arg(packages.join("puppeteer-core"))
        .arg(which::which("chromium").expect("a browser"));
    person.arg(test.path("browser"));
    person.arg(format!("http://127.0.0.1:{port}/?folder={}", test.project().display()));
    let (status, said, errors) = ended(person, b"{ id -u; cat /run/.containerenv; echo $TERM_PROGRAM; } > seen\n");
    assert_eq!(status, 0, "{said}{errors}");
    assert_eq!(said, "terminal: devbox\na command that fails is marked\nthe task is done\n");
    let read = |name: &str| std::fs::read_to_string(test.project().join(name)).unwrap_or_default();
    assert_eq!(read("seen"), "0\nengine=\"devbox\"\nname=\"shop\"\nvscode\n");
    assert_eq!(read("staged"), "0\n");

    drop(server);
    test.args(["editor", "unset", "vscode"]).any_stderr().run();
    assert_eq!(read(".vscode/settings.json"), SETTINGS);
}
