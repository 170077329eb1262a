//! `devbox code`, `cursor`, `zed` and `idea`: an editor of the host, opened on a box over ssh.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::ssh;
use crate::boxes::{BoxDir, list, state};
use crate::cli::Outcome;
use crate::cli::args::ssh::Editor as Args;
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::{LoadedProfile, Profile};
use crate::ssh::config::{self, DOMAIN};
use crate::text::sanitize;

/// Which editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editor {
    /// Visual Studio Code.
    Code,
    /// Cursor.
    Cursor,
    /// Zed.
    Zed,
    /// Those of JetBrains, through their Gateway.
    Idea,
}

impl Editor {
    /// The program, and what has to be installed for it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Code => ("code", "Visual Studio Code, with the extension Remote - SSH"),
            Self::Cursor => ("cursor", "Cursor"),
            Self::Zed => ("zed", "Zed"),
            Self::Idea => ("xdg-open", "JetBrains Gateway, and the package `xdg-utils`"),
        }
    }

    /// Its arguments for `path` of the box behind `host`.
    fn arguments(self, host: &str, user: &str, path: &str) -> Vec<OsString> {
        match self {
            Self::Code | Self::Cursor => vec!["--remote".into(), format!("ssh-remote+{host}").into(), path.into()],
            Self::Zed => vec![format!("ssh://{user}@{host}{}", escaped(path)).into()],
            Self::Idea => {
                let path = escaped(path);
                let link = "jetbrains-gateway://connect#type=ssh&deploy=true&port=22";
                vec![format!("{link}&host={host}&user={user}&projectPath={path}").into()]
            }
        }
    }
}

/// `text` as a part of an address.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Opens the editor on the box of the project that holds `folder`.
pub fn run(folder: &Path, editor: Editor, args: &Args) -> Outcome {
    let (name, what) = editor.program();
    let program = which::which(name).map_err(|_| {
        Error::new(format!("there is no program `{name}`"))
            .hint(format!("install {what}; `devbox ssh-config install` lets every ssh client in without it"))
    })?;
    let wanted = folder.join(args.path.as_deref().unwrap_or(Path::new("")));
    let wanted = std::fs::canonicalize(&wanted)
        .map_err(|error| Error::new(format!("cannot open `{}`: {error}", sanitize(&wanted.to_string_lossy()))))?;
    let paths = Paths::from_environment()?;
    let start = if wanted.is_dir() { &wanted } else { wanted.parent().unwrap_or(&wanted) };
    let loaded = Profile::load(&paths, start)?;
    let place = place(&loaded, &wanted);
    let user = loaded.profile.user.clone();
    let project = loaded.project.clone();
    let id = match list::find_by_project(&paths, &project)? {
        Some(id) => id,
        None => {
            // An ssh client finds boxes that exist.
            drop(ssh::hold(&paths, loaded)?);
            list::find_by_project(&paths, &project)?.ok_or_else(|| Error::new("the box has gone"))?
        }
    };
    config::install(&paths, &ssh::own_program()?)?;
    let record = state::load(&BoxDir::new(&paths, &id))?;
    let name = config::name(&paths, &record)?;
    let status = Command::new(&program)
        .args(editor.arguments(&format!("{name}{DOMAIN}"), &user, &place))
        .status()
        .map_err(|error| Error::new(format!("cannot start `{}`: {error}", program.display())))?;
    Ok(status.code().unwrap_or(crate::error::FAILED))
}

/// Where `wanted` lies in the box.
fn place(loaded: &LoadedProfile, wanted: &Path) -> String {
    let rest = wanted.strip_prefix(&loaded.project).unwrap_or(Path::new(""));
    let inside = &loaded.profile.project.path;
    let place = if rest.as_os_str().is_empty() { inside.clone() } else { inside.join(rest) };
    place.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_editor_has_its_own_words() {
        let words = |editor: Editor| editor.arguments("shop.devbox", "dev", "/a b/c");
        assert_eq!(words(Editor::Code), ["--remote", "ssh-remote+shop.devbox", "/a b/c"]);
        assert_eq!(words(Editor::Cursor), words(Editor::Code));
        assert_eq!(words(Editor::Zed), ["ssh://dev@shop.devbox/a%20b/c"]);
        let link =
            "jetbrains-gateway://connect#type=ssh&deploy=true&port=22&host=shop.devbox&user=dev&projectPath=/a%20b/c";
        assert_eq!(words(Editor::Idea), [link]);
    }
}
