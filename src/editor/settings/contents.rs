//! What each editor is told. Pure.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Editor;
use super::splice::Entry;

/// What the settings depend on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The box's name.
    pub name: String,
    /// Names of the profile's tasks.
    pub tasks: Vec<String>,
    /// Language servers that there are shims of.
    pub servers: Vec<String>,
    /// Where the shims lie.
    pub shims: PathBuf,
}

/// What is to become of one file of the project.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// JSON with comments, which may have anything else; begins as this text if it is not there.
    Json(&'static str, Vec<Entry>),
    /// TOML, which may have anything else.
    Toml(Vec<Entry>),
    /// Lines at the head of a file that may have anything else: its end may be a statement that nothing can follow.
    Head(String),
    /// A file that is devbox's alone.
    Own(String),
}

/// The files of `editor`, relative to the project.
#[must_use]
pub fn files(editor: Editor, facts: &Facts) -> Vec<(PathBuf, Content)> {
    let files = match editor {
        Editor::Vscode | Editor::Cursor => vscode(facts),
        Editor::Zed => zed(facts),
        Editor::Jetbrains => jetbrains(facts),
        Editor::Helix => vec![(".helix/languages.toml".into(), Content::Toml(helix(facts)))],
        Editor::Neovim => vec![(".nvim.lua".into(), Content::Head(neovim(facts)))],
        Editor::Emacs => vec![(".dir-locals-2.el".into(), Content::Own(emacs(facts)))],
        Editor::Sublime => vec![(format!("{}.sublime-project", facts.name).into(), sublime(facts))],
    };
    let is_empty = |content: &Content| match content {
        Content::Json(_, entries) | Content::Toml(entries) => entries.is_empty(),
        Content::Head(text) | Content::Own(text) => text.is_empty(),
    };
    files.into_iter().filter(|(_, content)| !is_empty(content)).collect()
}

fn entry(place: &[&str], value: Value) -> Entry {
    Entry { place: place.iter().map(|key| (*key).to_owned()).collect(), value, element: false }
}

fn element(place: &[&str], value: Value) -> Entry {
    Entry { element: true, ..entry(place, value) }
}

/// A task's name as an argument and as a label.
fn tasks(facts: &Facts) -> impl Iterator<Item = (&String, String)> {
    facts.tasks.iter().map(|task| (task, format!("devbox: {task}")))
}

fn server(name: &str) -> Value {
    json!(["run", "--lsp", "--", name])
}

fn vscode(facts: &Facts) -> Vec<(PathBuf, Content)> {
    const PROFILES: &str = "terminal.integrated.profiles.linux";
    let mut settings = vec![
        entry(&[PROFILES, "devbox"], json!({ "path": "devbox", "args": ["enter"], "icon": "package" })),
        entry(&["terminal.integrated.defaultProfile.linux"], json!("devbox")),
    ];
    for name in &facts.servers {
        let path = json!(facts.shims.join(name));
        settings.extend(match name.as_str() {
            "clangd" => Some(entry(&["clangd.path"], path)),
            "rust-analyzer" => Some(entry(&["rust-analyzer.server.path"], path)),
            "gopls" => Some(entry(&["go.alternateTools", "gopls"], path)),
            "zls" => Some(entry(&["zig.zls.path"], path)),
            "lua-language-server" => Some(entry(&["Lua.misc.executablePath"], path)),
            _ => None,
        });
    }
    let task = |(task, label): (&String, String)| {
        element(
            &["tasks"],
            json!({ "label": label, "type": "process", "command": "devbox", "args": ["run", task], "problemMatcher": [] }),
        )
    };
    let tasks = tasks(facts).map(task).collect();
    vec![
        (".vscode/settings.json".into(), Content::Json("{\n}\n", settings)),
        (".vscode/tasks.json".into(), Content::Json("{\n  \"version\": \"2.0.0\"\n}\n", tasks)),
    ]
}

fn zed(facts: &Facts) -> Vec<(PathBuf, Content)> {
    let shell = json!({ "program": "devbox", "args": ["enter"] });
    let mut settings = vec![entry(&["terminal", "shell"], json!({ "with_arguments": shell }))];
    settings.extend(
        facts
            .servers
            .iter()
            .map(|name| entry(&["lsp", name, "binary"], json!({ "path": "devbox", "arguments": server(name) }))),
    );
    let task = |(task, label): (&String, String)| {
        element(&[], json!({ "label": label, "command": "devbox", "args": ["run", task] }))
    };
    vec![
        (".zed/settings.json".into(), Content::Json("{\n}\n", settings)),
        (".zed/tasks.json".into(), Content::Json("[\n]\n", tasks(facts).map(task).collect())),
    ]
}

fn sublime(facts: &Facts) -> Content {
    let mut entries = vec![element(&["folders"], json!({ "path": "." }))];
    entries.extend(facts.servers.iter().map(|name| {
        let command: Vec<&str> = ["devbox", "run", "--lsp", "--", name].to_vec();
        entry(&["settings", "LSP", name, "command"], json!(command))
    }));
    entries.extend(tasks(facts).map(|(task, label)| {
        element(
            &["build_systems"],
            json!({ "name": label, "cmd": ["devbox", "run", task], "working_dir": "$project_path" }),
        )
    }));
    Content::Json("{\n}\n", entries)
}

/// Run configurations, one file each: the terminal of the IDE has no setting that a project could carry.
fn jetbrains(facts: &Facts) -> Vec<(PathBuf, Content)> {
    let configuration = |label: &str, line: String| {
        let file: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let text = format!(
            "<component name=\"ProjectRunConfigurationManager\">\n  \
             <configuration default=\"false\" name=\"{}\" type=\"ShConfigurationType\">\n    \
             <option name=\"SCRIPT_TEXT\" value=\"{}\" />\n    \
             <option name=\"INDEPENDENT_SCRIPT_PATH\" value=\"true\" />\n    \
             <option name=\"SCRIPT_WORKING_DIRECTORY\" value=\"$PROJECT_DIR$\" />\n    \
             <option name=\"EXECUTE_IN_TERMINAL\" value=\"true\" />\n    \
             <option name=\"EXECUTE_SCRIPT_FILE\" value=\"false\" />\n    \
             <method v=\"2\" />\n  </configuration>\n</component>\n",
            xml(label),
            xml(&line)
        );
        (Path::new(".idea/runConfigurations").join(format!("{file}.xml")), Content::Own(text))
    };
    let enter = configuration("devbox enter", "devbox enter".to_owned());
    let quote = crate::profile::devcontainer::hooks::quote;
    let rest = tasks(facts).map(|(task, label)| configuration(&label, format!("devbox run {}", quote(task))));
    std::iter::once(enter).chain(rest).collect()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Each new key of a table goes first.
fn helix(facts: &Facts) -> Vec<Entry> {
    let place = |name: &str, key: &str, value: Value| entry(&["language-server", name, key], value);
    let keys = |name: &String| [place(name, "args", server(name)), place(name, "command", json!("devbox"))];
    facts.servers.iter().flat_map(keys).collect()
}

fn neovim(facts: &Facts) -> String {
    // JSON's strings are Lua's for what a path can have.
    let path = Value::from(facts.shims.to_string_lossy());
    format!(
        "-- devbox: tools and language servers of the box come first, and :Devbox is a shell of it\n\
         vim.env.PATH = {path} .. \":\" .. vim.env.PATH\n\
         vim.api.nvim_create_user_command(\"Devbox\", \"terminal devbox enter\", {{}})\n"
    )
}

fn emacs(facts: &Facts) -> String {
    let path = Value::from(facts.shims.to_string_lossy());
    format!(
        ";;; devbox: tools and language servers of the box come first, and M-x shell is a shell of it\n\
         ((nil . ((explicit-shell-file-name . \"devbox\")\n         \
         (explicit-devbox-args . (\"enter\"))\n         \
         (eval . (setq-local exec-path (cons {path} exec-path))))))\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::{json, splice};
    use super::*;

    #[test]
    fn every_editor_is_told_something() {
        let facts = Facts {
            name: "shop".into(),
            tasks: vec!["test".into(), "a \"b\" & c".into()],
            servers: vec!["clangd".into(), "rust-analyzer".into()],
            shims: "/data/bin".into(),
        };
        for editor in Editor::ALL {
            let files = files(editor, &facts);
            assert!(!files.is_empty(), "{editor:?}");
            for (path, content) in files {
                assert!(path.is_relative());
                if let Content::Json(empty, entries) = &content {
                    let (text, splices) = json::add(&path, empty, empty, entries).unwrap();
                    assert!(text.contains("devbox"), "{text}");
                    let taken = splice::take_back(&path, &text, &splices, splice::Format::Json).unwrap();
                    assert_eq!(taken, ((*empty).to_owned(), Vec::new()));
                }
            }
        }
    }

    #[test]
    fn helix_gets_toml() {
        let facts =
            Facts { name: "shop".into(), tasks: vec![], servers: vec!["clangd".into()], shims: "/data/bin".into() };
        let (text, _) = super::super::toml::add(Path::new("languages.toml"), "", &helix(&facts)).unwrap();
        let expected =
            "[language-server.clangd]\ncommand = \"devbox\"\nargs = [\"run\", \"--lsp\", \"--\", \"clangd\"]\n";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(files(Editor::Helix, &Facts { servers: vec![], ..facts }), []);
    }
}
