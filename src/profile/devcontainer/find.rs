//! Where devcontainer files lie in a project.

use std::path::{Path, PathBuf};

use crate::profile::error::ProfileError;
use crate::profile::load::exists;

/// The folder of devcontainer files.
const FOLDER: &str = ".devcontainer";
/// Their name in it, and in folders below it.
const FILE: &str = "devcontainer.json";
/// The name of a file without a folder.
const PLAIN: &str = ".devcontainer.json";

/// The devcontainer files of `project`, in the order of their precedence; the named ones below `.devcontainer` by name.
pub fn all(project: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let folder = project.join(FOLDER);
    let mut files = Vec::new();
    for file in [folder.join(FILE), project.join(PLAIN)] {
        if exists(&file)? {
            files.push(file);
        }
    }
    let mut named = Vec::new();
    // A folder that cannot be read has no files for us.
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let file = entry.path().join(FILE);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && exists(&file)? {
            named.push(file);
        }
    }
    named.sort();
    files.extend(named);
    Ok(files)
}

/// What a file is called among several: the folder that it has to itself, or its path.
#[must_use]
pub fn name_of(project: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(project).unwrap_or(file);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    match &parts[..] {
        [_, name, _] => name.clone().into_owned(),
        _ => relative.to_string_lossy().into_owned(),
    }
}

/// The one of `files` that counts; `chosen` is its name, or its path in the project.
pub fn choose<'a>(
    project: &Path,
    files: &'a [PathBuf],
    chosen: Option<&str>,
) -> Result<Option<&'a Path>, ProfileError> {
    let names = || files.iter().map(|file| name_of(project, file)).collect::<Vec<_>>();
    match (files, chosen) {
        ([], None) => Ok(None),
        (files, Some(chosen)) => {
            let is_it = |file: &&PathBuf| {
                name_of(project, file) == chosen || file.strip_prefix(project) == Ok(Path::new(chosen))
            };
            let found = files.iter().find(is_it);
            let unknown = || ProfileError::UnknownDevcontainer { name: chosen.to_owned(), known: names() };
            found.map(|file| Some(file.as_path())).ok_or_else(unknown)
        }
        ([only], None) => Ok(Some(only)),
        // One of the two usual places goes before those that have a name.
        ([first, ..], None) if name_of(project, first).contains('.') => Ok(Some(first)),
        (_, None) => Err(ProfileError::SeveralDevcontainers { project: project.to_owned(), known: names() }),
    }
}

/// Where it is kept which of several files counts in `project`.
fn memory(data: &Path, project: &Path) -> PathBuf {
    let digest = crate::image::digest::of_bytes(project.as_os_str().as_encoded_bytes());
    data.join("devcontainers").join(&digest[..32])
}

/// The name that was chosen last in `project`; `data` is devbox's data directory.
#[must_use]
pub fn remembered(data: &Path, project: &Path) -> Option<String> {
    std::fs::read_to_string(memory(data, project)).ok()
}

/// Keeps the choice for commands that name none.
pub fn remember(data: &Path, project: &Path, name: &str) -> Result<(), ProfileError> {
    let path = memory(data, project);
    let place = path.parent().unwrap_or(data);
    crate::paths::create_private(place)?;
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(place)?;
        std::io::Write::write_all(&mut file, name.as_bytes())?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    write().map_err(|source| ProfileError::Write { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_places() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let found = |chosen: Option<&str>| {
            let files = all(root).unwrap();
            let file = choose(root, &files, chosen).map(|file| file.map(|file| file.to_owned()));
            file.map_err(|error| error.to_string())
                .map(|file| file.map(|file| file.strip_prefix(root).unwrap().to_string_lossy().into_owned()))
        };
        let add = |path: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "{}").unwrap();
        };
        assert_eq!(found(None), Ok(None));
        std::fs::create_dir_all(root.join(".devcontainer/empty")).unwrap();
        assert_eq!(found(None), Ok(None));
        add(".devcontainer/go/devcontainer.json");
        assert_eq!(found(None), Ok(Some(".devcontainer/go/devcontainer.json".to_owned())));
        add(".devcontainer/c++/devcontainer.json");
        add(".devcontainer/a/b/devcontainer.json");
        let several = found(None).unwrap_err();
        assert!(several.ends_with("several devcontainer files: c++, go"), "{several}");
        assert_eq!(found(Some("go")), Ok(Some(".devcontainer/go/devcontainer.json".to_owned())));
        assert!(found(Some("rust")).unwrap_err().contains("rust"));
        assert!(found(Some("../x")).is_err());
        add(".devcontainer.json");
        assert_eq!(found(None), Ok(Some(".devcontainer.json".to_owned())));
        add(".devcontainer/devcontainer.json");
        assert_eq!(found(None), Ok(Some(".devcontainer/devcontainer.json".to_owned())));
        assert_eq!(found(Some(".devcontainer.json")), Ok(Some(".devcontainer.json".to_owned())));
        assert_eq!(remembered(root, root), None);
        remember(root, root, "go").unwrap();
        remember(root, root, "c++").unwrap();
        assert_eq!(remembered(root, root).as_deref(), Some("c++"));
        assert_eq!(found(Some("c++")), Ok(Some(".devcontainer/c++/devcontainer.json".to_owned())));
    }
}
