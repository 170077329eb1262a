//! What devbox gives editors and shells of the host: settings that come and go, and the offer of a box on `cd`.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::require;
use crate::support::devbox::Devbox;

const EDITORS: [&str; 8] = ["vscode", "cursor", "zed", "jetbrains", "helix", "neovim", "emacs", "sublime"];

fn project() -> Devbox {
    let test = Devbox::new();
    test.profile("name = \"shop\"\nbase = \"host\"\n[tasks]\ntest = \"make check\"\n");
    test.args(["shim", "add", "clangd"]).any_stderr().run();
    test
}

/// Every file below `folder`.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(tree(&entry.path())),
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

#[test]
fn settings_come_and_go() {
    let test = project();
    for editor in EDITORS {
        let before = tree(&test.project());
        let shown = test.args(["editor", "setup", editor, "--print"]).any_stdout().any_stderr().run().stdout;
        assert!(!shown.is_empty() && tree(&test.project()) == before, "{editor}: {shown}");
        for _ in 0..2 {
            test.args(["editor", "setup", editor]).any_stdout().any_stderr().run();
        }
        let set = tree(&test.project());
        assert!(set.len() > before.len(), "{editor}");
        test.args(["editor", "unset", editor]).any_stdout().any_stderr().run();
        assert!(tree(&test.project()) == before, "{editor}: {:?}", tree(&test.project()).keys());
    }
}

#[test]
fn settings_of_others_stay_as_they_are() {
    let test = project();
    let commented = "// mine\r\n{\r\n\t/* tabs */ \"editor.tabSize\": 8, // eight\r\n\t\"a\": [1,\r\n2,],\r\n}\r\n";
    test.file(".vscode/settings.json", commented);
    test.args(["editor", "setup", "vscode"]).any_stdout().any_stderr().run();
    let path = test.project().join(".vscode/settings.json");
    let set = fs::read_to_string(&path).unwrap();
    for kept in ["// mine\r\n", "/* tabs */ \"editor.tabSize\": 8, // eight\r\n", "\"a\": [1,\r\n2,]"] {
        assert!(set.contains(kept), "{kept:?} in {set}");
    }
    assert!(set.contains("devbox"), "{set}");
    test.args(["editor", "unset", "vscode"]).any_stdout().any_stderr().run();
    assert_eq!(fs::read_to_string(&path).unwrap(), commented);
    // What is no settings file is left alone, and so are the others of that editor.
    test.file(".vscode/settings.json", "{ not json");
    let before = tree(&test.project());
    let failed = test.args(["editor", "setup", "vscode"]).status(1).any_stderr().run();
    assert!(failed.stderr.contains("settings.json"), "{}", failed.stderr);
    assert!(tree(&test.project()) == before);
}

#[test]
fn settings_that_are_no_toml_or_say_something_else_are_left_alone() {
    let test = project();
    for (text, place) in [
        ("[language-server\n", "languages.toml:1:"),
        ("[language-server.clangd]\ncommand = \"clangd\"\n", "languages.toml:2:11"),
    ] {
        test.file(".helix/languages.toml", text);
        let before = tree(&test.project());
        let failed = test.args(["editor", "setup", "helix"]).status(1).any_stderr().run().stderr;
        assert!(failed.contains(place) && failed.contains("`--print` shows"), "{failed}");
        assert!(tree(&test.project()) == before);
        let shown = test.args(["editor", "setup", "helix", "--print"]).any_stdout().run().stdout;
        assert!(shown.contains("command = \"devbox\""), "{shown}");
    }
}

#[test]
fn settings_are_taken_out_of_what_was_written_since() {
    let test = project();
    test.args(["editor", "setup", "vscode"]).any_stderr().run();
    let path = test.project().join(".vscode/tasks.json");
    let set = fs::read_to_string(&path).unwrap();
    fs::write(&path, set.replace("\"tasks\": [", "\"tasks\":")).unwrap();
    // It has a place, and nothing is forgotten.
    let failed = test.args(["editor", "unset", "vscode"]).status(1).any_stderr().run().stderr;
    assert!(failed.contains("tasks.json:") && failed.contains("mend the file"), "{failed}");
    let mine = "\"tasks\": [\n        // mine\n        { \"label\": \"mine\" },";
    fs::write(&path, set.replace("\"tasks\": [", mine).replace("  ", "    ")).unwrap();
    test.args(["editor", "unset", "vscode"]).any_stderr().run();
    let left = fs::read_to_string(&path).unwrap();
    assert!(left.contains("// mine") && left.contains("\"mine\"") && !left.contains("devbox"), "{left}");
    assert!(!test.project().join(".vscode/settings.json").exists());
    let none = test.args(["editor", "unset", "vscode"]).status(1).any_stderr().run().stderr;
    assert!(none.contains("there are no settings of devbox"), "{none}");
}

#[test]
fn hints_fit_what_is_in_the_way() {
    let test = project();
    test.file(".vscode", "");
    let failed = test.args(["editor", "setup", "vscode"]).status(1).any_stderr().run().stderr;
    assert!(failed.contains("is none: move it away"), "{failed}");
    fs::remove_file(test.project().join(".vscode")).unwrap();
    symlink(".", test.project().join(".vscode")).unwrap();
    let failed = test.args(["editor", "setup", "vscode"]).status(1).any_stderr().run().stderr;
    assert!(failed.contains("may be a symlink"), "{failed}");
    test.file(".zed/settings.json", "[]");
    let failed = test.args(["editor", "setup", "zed"]).status(1).any_stderr().run().stderr;
    assert!(failed.contains("the file's top level is no table"), "{failed}");
    let none = test.args(["editor", "unset", "emacs"]).status(1).any_stderr().run().stderr;
    assert!(none.contains("a folder that was moved"), "{none}");
}

#[test]
fn a_program_that_editors_will_not_find_is_said() {
    let mut test = project();
    let warning = "devbox: `devbox` is not in your PATH, where editors look for it\n";
    for (place, expected) in [("home", true), ("", false)] {
        test.env("PATH", test.path(place));
        let said = test.args(["editor", "setup", "vscode"]).any_stderr().run().stderr;
        assert_eq!(said.ends_with(warning), expected, "{said}");
    }
}

#[test]
fn shells_offer_the_box_and_start_nothing() {
    require!(Program("zsh"), Program("fish"));
    let test = project();
    fs::create_dir_all(test.project().join("below")).unwrap();
    fs::create_dir_all(test.path("a b/.devcontainer")).unwrap();
    fs::write(test.path("a b/.devcontainer/devcontainer.json"), "{}").unwrap();
    fs::create_dir_all(test.path("named/.devcontainer/a [b]")).unwrap();
    fs::write(test.path("named/.devcontainer/a [b]/devcontainer.json"), "{}").unwrap();
    fs::create_dir_all(test.path("none/.devcontainer/empty")).unwrap();
    let visits = format!(
        "cd {root}/project\ncd below\ncd /\n\ncd {root}/project/below\ncd '{root}/a b'\ncd ../none\ncd ../named\nexit 0\n",
        root = test.path("").display()
    );
    let shells: [(&str, &[&str], &str, &str); 3] = [
        ("bash", &["--norc", "-i"], "eval \"$(devbox hook bash)\"\n", r"a\ b"),
        ("zsh", &["-f"], "eval \"$(devbox hook zsh)\"\n", "'a b'"),
        ("fish", &["--no-config"], "devbox hook fish | source\n", "'a b'"),
    ];
    for (shell, options, hook, quoted) in shells {
        let like = test.command([] as [&str; 0]);
        let mut command = Command::new(shell);
        command.args(options).current_dir("/").env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", format!("{}:/usr/bin:/bin", test.path("").display()));
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        running.stdin.take().unwrap().write_all(format!("{hook}{visits}").as_bytes()).unwrap();
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // An interactive bash writes its prompt there as well.
        let offers: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once("devbox: ")?.1)).collect();
        let offer = |name: &str| format!("{name} has a box; `devbox enter` opens a shell in it");
        assert_eq!(offers, [offer("project"), offer("project"), offer(quoted), offer("named")], "{shell}: {said}");
    }
    assert!(test.boxes().is_empty());
}
