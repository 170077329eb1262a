//! Where git on the host looks for repositories in a project.
//!
//! `git status` at the top goes into each submodule, and does there what its configuration says, such as to run the program
//! `core.fsmonitor`. The repository of a submodule is named by a file in the working tree: who can write that names another one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How git calls a repository, or the file that names one.
const GIT: &str = ".git";
/// The mode of a submodule in an index.
const SUBMODULE: &[u8] = b"160000 ";

/// Every `.git` below the top of `project`, and the folders of submodules that have none yet. Relative.
#[must_use]
pub fn nested(project: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    submodules(project, &project.join(GIT), Path::new(""), &mut found);
    present(project, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Whether one of `paths` is the repository at the top.
pub fn is_guarded<'a>(mut paths: impl Iterator<Item = &'a PathBuf>) -> bool {
    paths.any(|path| path == Path::new(GIT))
}

/// The submodules in the index of the repository `directory`, whose working tree is at `place`, and theirs.
fn submodules(project: &Path, directory: &Path, place: &Path, found: &mut Vec<PathBuf>) {
    // Nothing of the working tree is read: it may be what an earlier box made of it.
    let listed = Command::new("git")
        .arg("--git-dir")
        .arg(directory)
        .args(["ls-files", "--stage", "-z"])
        .current_dir("/")
        .stderr(Stdio::null())
        .output();
    let Ok(listed) = listed else { return };
    for entry in listed.stdout.split(|byte| *byte == 0).filter(|entry| entry.starts_with(SUBMODULE)) {
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
        let inner = place.join(OsStr::from_bytes(&entry[tab + 1..]));
        let link = inner.join(GIT);
        // A name is followed only into the repository at the top, which no box can change.
        let named = std::fs::read_to_string(project.join(&link)).unwrap_or_default();
        let named = named.strip_prefix("gitdir: ").map(|named| project.join(&inner).join(named.trim_end()));
        let real = named.and_then(|named| std::fs::canonicalize(named).ok());
        if let Some(real) = real.filter(|real| real.starts_with(project.join(GIT).join("modules"))) {
            submodules(project, &real, &inner, found);
        }
        // Whatever is called so where nothing was is an error to git: nothing may come into the whole folder.
        let is_there = project.join(&link).symlink_metadata().is_ok();
        found.push(if is_there { link } else { inner.join("") });
    }
}

/// Those that are there, in no repository's own folder. Symlinks are not followed.
fn present(project: &Path, found: &mut Vec<PathBuf>) {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(project.join(&folder)).into_iter().flatten().flatten() {
            let path = folder.join(entry.file_name());
            if entry.file_name() == GIT {
                found.extend(Some(path).filter(|_| !folder.as_os_str().is_empty()));
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_and_clones_are_found() {
        let place = tempfile::tempdir().unwrap();
        let project = std::fs::canonicalize(place.path()).unwrap().join("p");
        let script = "set -e
            export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
            for name in inner outer p; do git init -q $name; git -C $name commit -q --allow-empty -m 1; done
            git -C outer submodule --quiet add \"$PWD/inner\" inner; git -C outer commit -q -m 2
            git -C p submodule --quiet add \"$PWD/outer\" outer
            git -C p submodule --quiet add \"$PWD/inner\" gone; rm -r p/gone; mkdir p/gone
            git clone -q inner p/deep/clone";
        let made = Command::new("sh").args(["-c", script]).current_dir(place.path()).status().unwrap();
        assert!(made.success());
        let expected = ["deep/clone/.git", "gone/", "outer/.git", "outer/inner/"].map(PathBuf::from);
        assert_eq!(nested(&project), expected);
        // What an earlier box made of it leads nowhere.
        std::fs::write(project.join("outer/.git"), "gitdir: ../deep/clone/.git\n").unwrap();
        let expected = ["deep/clone/.git", "gone/", "outer/.git"].map(PathBuf::from);
        assert_eq!(nested(&project), expected);
        assert_eq!(nested(&place.path().join("none")), Vec::<PathBuf>::new());
    }
}
