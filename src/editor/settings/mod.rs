//! Settings of a project for editors: written, merged into what is there, and taken back.
//!
//! ```text
//! <data>/editors/<digest of the folder>-<editor>.json     what was changed: files, splices, folders that were made
//!               /lock                                     held by whoever changes any of it
//! ```
//!
//! What was changed is written down outside the project, before the project's files are touched: a box may write to these, and
//! they are read as hostile text. [`contents`] says what each editor is told, [`json`] and [`toml`] change texts, [`splice`] takes back, [`folder`] reaches files.

pub mod contents;
pub mod folder;
pub mod json;
pub mod splice;
pub mod toml;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::contents::Content;
use self::folder::Folder;
use self::splice::{Format, Splice};
use crate::image::digest;
use crate::paths::{Paths, PathsError, create_private};
use crate::profile::ProfileError;
use crate::profile::edit::line_end;
use crate::sys::SysError;

/// An editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the name of a program")]
pub enum Editor {
    Vscode,
    Cursor,
    Zed,
    Jetbrains,
    Helix,
    Neovim,
    Emacs,
    Sublime,
}

impl Editor {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Vscode, Self::Cursor, Self::Zed, Self::Jetbrains, Self::Helix, Self::Neovim, Self::Emacs, Self::Sublime];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vscode => "vscode",
            Self::Cursor => "cursor",
            Self::Zed => "zed",
            Self::Jetbrains => "jetbrains",
            Self::Helix => "helix",
            Self::Neovim => "neovim",
            Self::Emacs => "emacs",
            Self::Sublime => "sublime",
        }
    }
}

/// Settings cannot be written or taken back.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file of the project is not what it should be. It is left as it is.
    #[error(transparent)]
    Text(#[from] ProfileError),
    /// What devbox wrote before is in a file that is not what it should be. Nothing is taken back.
    #[error(transparent)]
    Damaged(ProfileError),
    /// It is no regular file.
    #[error("`{}` is no regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is too large.
    #[error("`{}` is larger than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not UTF-8.
    #[error("`{}` is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A file that would be devbox's own has another content.
    #[error("`{}` is there already, and is not devbox's", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// Nothing was written for this editor.
    #[error("there are no settings of devbox for `{editor}` in `{}`", project.display())]
    NotSet {
        /// The editor.
        editor: String,
        /// The project.
        project: PathBuf,
    },
    /// A call of the system.
    #[error("cannot use `{}`", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The call.
        source: SysError,
    },
    /// The directory of what was changed.
    #[error(transparent)]
    Directory(#[from] PathsError),
    /// What was changed cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Ledger {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What was done to one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change {
    path: PathBuf,
    /// The content that it began with, if it was not there.
    created: Option<String>,
    /// The topmost folder that was made for it.
    made: Option<PathBuf>,
    #[serde(default)]
    format: Format,
    splices: Vec<Splice>,
}

/// A file that was changed, and how much of what was written is not there any more as it was.
pub type Undone = (PathBuf, usize);

/// The files as they would be: for `--print`. Beside one that cannot be changed, what would be written if it were not there.
pub fn preview(project: &Path, files: &[(PathBuf, Content)]) -> Result<Vec<(PathBuf, String)>, SettingsError> {
    let folder = Folder::open(project)?;
    let text = |(path, content): &(PathBuf, Content)| {
        let changed = changed(folder.read(path)?, path, content).or_else(|_| changed(None, path, content))?;
        Ok((path.clone(), changed.0))
    };
    files.iter().map(text).collect()
}

/// Writes the settings; returns the files that were changed. What was written before is taken back first. Either every file can be
/// changed or none is.
pub fn set_up(
    paths: &Paths,
    project: &Path,
    editor: Editor,
    files: &[(PathBuf, Content)],
) -> Result<Vec<PathBuf>, SettingsError> {
    let _lock = lock(paths)?;
    match take_back(paths, project, editor) {
        Ok(_) | Err(SettingsError::NotSet { .. }) => {}
        Err(error) => return Err(error),
    }
    let folder = Folder::open(project)?;
    let mut planned = Vec::new();
    for (path, content) in files {
        let (text, change) = changed(folder.read(path)?, path, content)?;
        if !change.splices.is_empty() || change.created.is_some() {
            planned.push((text, change));
        }
    }
    // First what is about to be done, then what was done: an interrupted command is taken back as well.
    let mut changes: Vec<Change> = planned.iter().map(|(_, change)| change.clone()).collect();
    save(paths, project, editor, &changes)?;
    for ((text, change), noted) in planned.iter().zip(&mut changes) {
        noted.made = folder.write(&change.path, text)?;
    }
    save(paths, project, editor, &changes)?;
    Ok(changes.into_iter().map(|change| change.path).collect())
}

/// Takes back what [`set_up`] wrote. What somebody changed of it stays, and is remembered as long as it does. Either every file can be
/// read or none is changed.
pub fn unset(paths: &Paths, project: &Path, editor: Editor) -> Result<Vec<Undone>, SettingsError> {
    let _lock = lock(paths)?;
    take_back(paths, project, editor)
}

fn take_back(paths: &Paths, project: &Path, editor: Editor) -> Result<Vec<Undone>, SettingsError> {
    let ledger = ledger(paths, project, editor);
    let at = |action, source| SettingsError::Ledger { action, path: ledger.clone(), source };
    let text = match std::fs::read(&ledger) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SettingsError::NotSet { editor: editor.name().to_owned(), project: project.to_owned() });
        }
        other => other.map_err(|source| at("read", source))?,
    };
    let changes: Vec<Change> = serde_json::from_slice(&text).map_err(|source| at("read", source.into()))?;
    let folder = Folder::open(project)?;
    let mut planned = Vec::new();
    // The folder that was made for the first file is removed with the last one.
    for change in changes.into_iter().rev() {
        let Some(text) = folder.read(&change.path)? else { continue };
        let taken = splice::take_back(&change.path, &text, &change.splices, change.format);
        let (text, splices) = taken.map_err(SettingsError::Damaged)?;
        planned.push((text, Change { splices, ..change }));
    }
    let nothing = |text: &str| text.split_whitespace().collect::<String>();
    for (text, change) in &planned {
        match &change.created {
            Some(first) if nothing(text) == nothing(first) => folder.remove(&change.path, change.made.as_deref())?,
            _ => {
                folder.write(&change.path, text)?;
            }
        }
    }
    let undone = planned.iter().map(|(_, change)| (change.path.clone(), change.splices.len())).collect();
    let stay = planned.into_iter().rev().map(|(_, change)| change).filter(|change| !change.splices.is_empty());
    match stay.collect::<Vec<_>>() {
        stay if stay.is_empty() => std::fs::remove_file(&ledger).map_err(|source| at("remove", source))?,
        stay => save(paths, project, editor, &stay)?,
    }
    Ok(undone)
}

/// The new text of a file, of which `found` was found, and what changes.
fn changed(found: Option<String>, path: &Path, content: &Content) -> Result<(String, Change), SettingsError> {
    let created = |empty: &str| found.is_none().then(|| empty.to_owned());
    let old = found.as_deref().unwrap_or_default();
    let (created, format, (text, splices)) = match content {
        Content::Json(empty, entries) => {
            let text = found.as_deref().unwrap_or(empty);
            (created(empty), Format::Json, json::add(path, text, empty, entries)?)
        }
        Content::Toml(entries) => (created(""), Format::Toml, toml::add(path, old, entries)?),
        Content::Head(lines) => (created(""), Format::Text, head(old, lines)),
        Content::Own(own) => {
            if found.as_ref().is_some_and(|found| found != own) {
                return Err(SettingsError::InTheWay { path: path.to_owned() });
            }
            let splices = found.is_none().then(|| Splice::plain(own)).into_iter().collect();
            (created(""), Format::Text, (own.clone(), splices))
        }
    };
    Ok((text, Change { path: path.to_owned(), created, made: None, format, splices }))
}

/// `text` with `lines` before all but what has to be first: a byte order mark, and the line that names an interpreter.
fn head(text: &str, lines: &str) -> (String, Vec<Splice>) {
    let lines = lines.replace('\n', line_end(text));
    if text.contains(&lines) {
        return (text.to_owned(), Vec::new());
    }
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let first = text[mark..].split_inclusive('\n').next().filter(|line| line.starts_with("#!") && line.ends_with('\n'));
    let place = mark + first.map_or(0, str::len);
    (format!("{}{lines}{}", &text[..place], &text[place..]), vec![Splice::plain(&lines)])
}

/// Held while settings come or go: two commands may mean the same files.
fn lock(paths: &Paths) -> Result<File, SettingsError> {
    create_private(&paths.data.join("editors"))?;
    let path = paths.data.join("editors/lock");
    let file = File::options().create(true).append(true).open(&path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| SettingsError::Ledger { action: "lock", path, source })
}

fn ledger(paths: &Paths, project: &Path, editor: Editor) -> PathBuf {
    let digest = digest::of_bytes(project.as_os_str().as_encoded_bytes());
    let digest = digest.trim_start_matches("sha256:");
    paths.data.join("editors").join(format!("{}-{}.json", &digest[..16.min(digest.len())], editor.name()))
}

fn save(paths: &Paths, project: &Path, editor: Editor, changes: &[Change]) -> Result<(), SettingsError> {
    let path = ledger(paths, project, editor);
    let at = |action, source| SettingsError::Ledger { action, path: path.clone(), source };
    let text = serde_json::to_vec(changes).map_err(|source| at("write", source.into()))?;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).map_err(|source| at("write", source))?;
    std::fs::rename(&fresh, &path).map_err(|source| at("write", source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::contents::Facts;
    use super::*;

    struct Scratch(tempfile::TempDir);

    impl Scratch {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            std::fs::create_dir(scratch.path().join("project")).unwrap();
            Self(scratch)
        }

        fn project(&self) -> PathBuf {
            self.0.path().join("project")
        }

        fn paths(&self) -> Paths {
            let data = self.0.path().join("data");
            Paths { home: data.clone(), config: data.clone(), cache: data.clone(), runtime: data.clone(), data }
        }

        fn set_up(&self, editor: Editor) -> Result<Vec<PathBuf>, SettingsError> {
            let facts = Facts {
                name: "shop".into(),
                tasks: vec!["test".into()],
                servers: vec!["clangd".into()],
                shims: "/data/bin".into(),
            };
            set_up(&self.paths(), &self.project(), editor, &contents::files(editor, &facts))
        }

        fn unset(&self, editor: Editor) -> Result<Vec<Undone>, SettingsError> {
            unset(&self.paths(), &self.project(), editor)
        }
    }

    #[test]
    fn a_project_is_as_it_was_afterwards() {
        for editor in Editor::ALL {
            let scratch = Scratch::new();
            assert!(!scratch.set_up(editor).unwrap().is_empty());
            assert!(scratch.set_up(editor).is_ok(), "{editor:?}");
            assert!(scratch.unset(editor).unwrap().iter().all(|(_, lost)| *lost == 0));
            assert_eq!(std::fs::read_dir(scratch.project()).unwrap().count(), 0, "{editor:?}");
            assert!(matches!(scratch.unset(editor), Err(SettingsError::NotSet { .. })));
        }
    }

    #[test]
    fn settings_of_the_user_come_back_to_the_byte() {
        let scratch = Scratch::new();
        let file = scratch.project().join(".vscode/settings.json");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        let text = "\u{feff}{\r\n  // mine\r\n  \"editor.tabSize\": 2, /* two */\r\n}\r\n";
        std::fs::write(&file, text).unwrap();
        scratch.set_up(Editor::Vscode).unwrap();
        assert_ne!(std::fs::read_to_string(&file).unwrap(), text);
        scratch.unset(Editor::Vscode).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(!scratch.project().join(".vscode/tasks.json").exists());
    }

    #[test]
    fn what_is_no_settings_file_is_left_alone() {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.project().join(".vscode")).unwrap();
        std::fs::write(scratch.project().join(".vscode/tasks.json"), "no json").unwrap();
        assert!(matches!(scratch.set_up(Editor::Vscode), Err(SettingsError::Text(_))));
        assert_eq!(std::fs::read_to_string(scratch.project().join(".vscode/tasks.json")).unwrap(), "no json");
        assert!(!scratch.project().join(".vscode/settings.json").exists());
        std::fs::write(scratch.project().join(".dir-locals-2.el"), "mine").unwrap();
        assert!(matches!(scratch.set_up(Editor::Emacs), Err(SettingsError::InTheWay { .. })));
    }

    #[test]
    fn what_others_wrote_into_settings_stays_readable() {
        let cases = [
            (Editor::Helix, ".helix/languages.toml", "# mine\n[language-server.clangd] # here\nconfig = {}\n"),
            (Editor::Neovim, ".nvim.lua", "#!/usr/bin/lua\r\nreturn {}"),
            (Editor::Neovim, ".nvim.lua", "return {}\n"),
            (Editor::Vscode, ".vscode/settings.json", ""),
            (Editor::Zed, ".zed/tasks.json", "// mine"),
        ];
        for (editor, path, text) in cases {
            let scratch = Scratch::new();
            let file = scratch.project().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            scratch.set_up(editor).unwrap();
            let set = std::fs::read_to_string(&file).unwrap();
            let is_head = editor != Editor::Neovim || set.trim_end().ends_with("return {}");
            assert!(set.contains("devbox") && is_head, "{set}");
            assert!(scratch.unset(editor).unwrap().iter().all(|(_, lost)| *lost == 0));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn what_stays_is_remembered() {
        let scratch = Scratch::new();
        scratch.set_up(Editor::Vscode).unwrap();
        let file = scratch.project().join(".vscode/settings.json");
        let set = std::fs::read_to_string(&file).unwrap();
        // Nothing is taken back as long as one file cannot be read.
        std::fs::write(&file, set.replace(':', "")).unwrap();
        assert!(matches!(scratch.unset(Editor::Vscode), Err(SettingsError::Damaged(_))));
        assert!(scratch.project().join(".vscode/tasks.json").exists());
        // Beside ours, and in another layout.
        let table: serde_json::Value = serde_json::from_str(&set).unwrap();
        let table = table.to_string().replace("\"devbox\":{", "\"mine\":{},\"devbox\":{").replace("/clangd", "/mine");
        std::fs::write(&file, table).unwrap();
        for _ in 0..2 {
            let undone = scratch.unset(Editor::Vscode).unwrap();
            assert!(undone.contains(&(".vscode/settings.json".into(), 1)), "{undone:?}");
        }
        let expected = "{\"clangd.path\":\"/data/bin/mine\",\"terminal.integrated.profiles.linux\":{\"mine\":{}}}";
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        std::fs::write(&file, expected.replace("clangd", "other")).unwrap();
        assert_eq!(scratch.unset(Editor::Vscode).unwrap(), [(".vscode/settings.json".into(), 0)]);
        assert!(matches!(scratch.unset(Editor::Vscode), Err(SettingsError::NotSet { .. })));
    }

    #[test]
    fn commands_wait_for_each_other() {
        let scratch = Scratch::new();
        std::thread::scope(|scope| {
            let commands: Vec<_> = (0..6).map(|_| scope.spawn(|| scratch.set_up(Editor::Vscode))).collect();
            commands.into_iter().for_each(|command| drop(command.join().unwrap().unwrap()));
        });
        scratch.unset(Editor::Vscode).unwrap();
        assert_eq!(std::fs::read_dir(scratch.project()).unwrap().count(), 0);
    }

    #[test]
    fn symlinks_lead_nowhere() {
        let scratch = Scratch::new();
        let outside = scratch.0.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, scratch.project().join(".vscode")).unwrap();
        assert!(matches!(scratch.set_up(Editor::Vscode), Err(SettingsError::System { .. })));
        std::fs::write(outside.join("rc"), "mine\n").unwrap();
        symlink(outside.join("rc"), scratch.project().join(".nvim.lua")).unwrap();
        assert!(matches!(scratch.set_up(Editor::Neovim), Err(SettingsError::System { .. })));
        // One that takes the file's place later.
        scratch.set_up(Editor::Helix).unwrap();
        std::fs::remove_dir_all(scratch.project().join(".helix")).unwrap();
        symlink(&outside, scratch.project().join(".helix")).unwrap();
        std::fs::write(outside.join("languages.toml"), "mine\n").unwrap();
        assert!(scratch.unset(Editor::Helix).is_err());
        assert_eq!(std::fs::read_to_string(outside.join("languages.toml")).unwrap(), "mine\n");
        assert_eq!(std::fs::read_to_string(outside.join("rc")).unwrap(), "mine\n");
    }
}
