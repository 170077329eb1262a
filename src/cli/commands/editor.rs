//! `devbox editor` and `devbox hook`.

use std::path::Path;

use super::session::refuse_home;
use crate::cli::args::editor::EditorCommand;
use crate::cli::{Outcome, print};
use crate::editor::hook::{self, HookShell};
use crate::editor::settings;
use crate::editor::settings::contents::{self, Facts};
use crate::editor::{language_server, shim};
use crate::paths::Paths;
use crate::profile::{LoadedProfile, Profile};
use crate::text::sanitize;
use crate::ui;

/// `devbox editor`.
pub fn run(folder: &Path, command: &EditorCommand) -> Outcome {
    let paths = Paths::from_environment()?;
    match command {
        EditorCommand::Setup { editor, print: shown } => {
            let loaded = Profile::load(&paths, folder)?;
            refuse_home(&paths, &loaded)?;
            let files = contents::files(*editor, &facts(&paths, &loaded)?);
            if *shown {
                let texts = settings::preview(&loaded.project, &files)?;
                let shown = texts.iter().map(|(path, text)| format!("==> {} <==\n{text}\n", path.display()));
                return print(&ui::foreign_text(&shown.collect::<String>()));
            }
            let changed = settings::set_up(&paths, &loaded.project, *editor, &files)?;
            if changed.is_empty() {
                ui::say("devbox: everything is there already");
            }
            changed.iter().for_each(|path| ui::say(&format!("devbox: wrote `{}`", sanitize(&path.to_string_lossy()))));
            // Some fall back to a shell of the host's without a word.
            if which::which("devbox").is_err() {
                ui::say("devbox: `devbox` is not in your PATH, where editors look for it");
            }
            Ok(0)
        }
        EditorCommand::Unset { editor } => {
            let project = super::project(&paths, folder)?;
            for (path, lost) in settings::unset(&paths, &project, *editor)? {
                let is_there = project.join(&path).exists();
                let path = sanitize(&path.to_string_lossy()).into_owned();
                ui::say(&match lost {
                    0 if !is_there => format!("devbox: removed `{path}`"),
                    0 => format!("devbox: `{path}` is as it would be without devbox"),
                    lost => {
                        format!("devbox: `{path}` was edited: {lost} of devbox's settings in it are changed, and stay")
                    }
                });
            }
            Ok(0)
        }
    }
}

/// `devbox hook`.
pub fn hook(shell: HookShell) -> Outcome {
    print(hook::text(shell))
}

fn facts(paths: &Paths, loaded: &LoadedProfile) -> Result<Facts, crate::error::Error> {
    let shims = shim::default_directory(paths);
    let mut servers = shim::list(&shims)?;
    servers.retain(|name| language_server::is_known(name));
    let name = crate::boxes::id::sanitize_name(loaded.profile.name.as_ref());
    Ok(Facts { name, tasks: loaded.profile.tasks.keys().cloned().collect(), servers, shims })
}
