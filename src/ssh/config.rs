//! What ssh clients are told: a file of ours with one `Host` for each box, included by the user's own configuration.
//!
//! ```text
//! ~/.ssh/config            Include "<data>/ssh/config"      the first line, added once
//! <data>/ssh/config        Host shop.devbox                 editors list literal names only
//!                          Host *.devbox                    and boxes made later can be reached nevertheless
//! <data>/ssh/known_hosts   host_ed25519  id_ed25519         see `keys`
//! ```

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::SshError;
use super::keys::{KeyFiles, write_if_changed};
use crate::boxes::{BoxRecord, list};
use crate::paths::Paths;
use crate::profile::Profile;

/// What follows the name of a box in an ssh client.
pub const DOMAIN: &str = ".devbox";

/// A box as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The box's name; its id where several boxes have the name.
    pub name: String,
    /// Who is logged in.
    pub user: String,
}

/// The boxes of this user. One whose profile cannot be read is root's.
pub fn hosts(paths: &Paths) -> Result<Vec<Host>, SshError> {
    let records: Vec<_> = list::list(paths)?.into_iter().filter_map(|listed| listed.record.ok()).collect();
    let hosts = records.iter().map(|record| {
        let user = Profile::load(paths, &record.project).map_or_else(|_| "root".into(), |loaded| loaded.profile.user);
        Host { name: name_among(&records, record), user }
    });
    Ok(hosts.collect())
}

/// Under which name clients know a box.
pub fn name(paths: &Paths, record: &BoxRecord) -> Result<String, SshError> {
    let records: Vec<_> = list::list(paths)?.into_iter().filter_map(|listed| listed.record.ok()).collect();
    Ok(name_among(&records, record))
}

fn name_among(records: &[BoxRecord], record: &BoxRecord) -> String {
    let is_only = records.iter().filter(|other| other.name == record.name).count() == 1;
    if is_only { record.name.clone() } else { record.id.as_str().to_owned() }
}

/// The text of our file. `program` is devbox itself, as an absolute path.
#[must_use]
pub fn text(hosts: &[Host], program: &Path, keys: &KeyFiles) -> String {
    let mut text = "# Written by `devbox ssh-config install`, which also brings it up to date.\n".to_owned();
    for host in hosts {
        text += &block(&host.name, &format!("'{}'", host.name), &host.user, program, keys);
    }
    text + &block(OTHERS, "'%n'", "root", program, keys)
}

/// Boxes that are not in the file yet. The command is for the user's shell, where what is between quotes means nothing:
/// so there must be no quote in a name, nor, for `fish`, a backslash. Newer clients refuse such names themselves.
const OTHERS: &str = r#""!*'*" "!*\\*" *"#;

fn block(pattern: &str, name: &str, user: &str, program: &Path, keys: &KeyFiles) -> String {
    // The command is for a shell, and `%` means something to ssh.
    let program = program.to_string_lossy().replace('\'', r"'\''").replace('%', "%%");
    let quoted = |path: PathBuf| format!("\"{}\"", path.to_string_lossy().replace('%', "%%"));
    format!(
        "\nHost {pattern}{DOMAIN}\n\
        \x20 ProxyCommand '{program}' ssh-proxy -- {name}\n\
        \x20 User {user}\n\
        \x20 IdentityFile {}\n\
        \x20 IdentitiesOnly yes\n\
        \x20 UserKnownHostsFile {}\n\
        \x20 HostKeyAlias box{DOMAIN}\n\
        \x20 StrictHostKeyChecking yes\n\
        \x20 CheckHostIP no\n\
        \x20 UpdateHostKeys no\n\
        \x20 Ciphers ^aes128-gcm@openssh.com\n\
        \x20 Compression no\n\
        \x20 LogLevel ERROR\n",
        quoted(keys.user()),
        quoted(keys.known_hosts()),
    )
}

/// Writes our file and lets the user's own include it. Returns where ours lies.
pub fn install(paths: &Paths, program: &Path) -> Result<PathBuf, SshError> {
    let keys = KeyFiles::new(paths);
    keys.load()?;
    let ours = keys.config();
    write_if_changed(&ours, &text(&hosts(paths)?, program, &keys), 0o644)?;
    let theirs = paths.home.join(".ssh/config");
    let line = include_line(&ours);
    edit(&theirs, |text| {
        let is_there = text.lines().any(|known| known.trim() == line);
        (!is_there).then(|| format!("{line}\n{text}"))
    })?;
    Ok(ours)
}

/// Takes back what [`install`] did, but for the keys. Returns whether there was something.
pub fn remove(paths: &Paths) -> Result<bool, SshError> {
    let ours = KeyFiles::new(paths).config();
    let line = include_line(&ours);
    let theirs = paths.home.join(".ssh/config");
    let edited = edit(&theirs, |text| {
        let rest: String = text.split_inclusive('\n').filter(|known| known.trim() != line).collect();
        (rest != text).then_some(rest)
    })?;
    // An empty file says what none says; a symlink to one is somebody's.
    if edited && theirs.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
        std::fs::remove_file(&theirs).map_err(|source| SshError::File {
            operation: "remove",
            path: theirs.clone(),
            source,
        })?;
    }
    match std::fs::remove_file(&ours) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(edited),
        Err(source) => Err(SshError::File { operation: "remove", path: ours, source }),
    }
}

fn include_line(ours: &Path) -> String {
    format!("Include \"{}\"", ours.display())
}

/// Replaces the file at `path` in one step by what `change` makes of its text; `None`: it stays as it is. Its mode stays,
/// and where it is a symlink, so does that.
fn edit(path: &Path, change: impl FnOnce(&str) -> Option<String>) -> Result<bool, SshError> {
    let io = |operation: &'static str| move |source| SshError::File { operation, path: path.to_owned(), source };
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(io("read")(error)),
    };
    let (text, mode) = match std::fs::read_to_string(&real) {
        Ok(text) => (text, std::fs::metadata(&real).map_err(io("read"))?.permissions().mode()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(error) => return Err(io("read")(error)),
    };
    let Some(changed) = change(&text) else { return Ok(false) };
    let directory = real.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io("write"))?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io("write"))?;
    file.write_all(changed.as_bytes()).map_err(io("write"))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode & 0o7777)).map_err(io("write"))?;
    file.as_file().sync_all().map_err(io("write"))?;
    file.persist(&real).map_err(|error| io("write")(error.error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Paths {
        Paths {
            home: root.join("home"),
            data: root.join("data"),
            config: root.join("config"),
            cache: root.join("cache"),
            runtime: root.join("run"),
        }
    }

    #[test]
    fn the_line_is_added_once_and_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let paths = paths(scratch.path());
        let theirs = paths.home.join(".ssh/config");
        std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        std::fs::write(&theirs, "Host a\n  User b").unwrap();
        std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o640)).unwrap();
        let program = Path::new("/opt/dev box/devbox");
        for _ in 0..2 {
            let ours = install(&paths, program).unwrap();
            let text = std::fs::read_to_string(&theirs).unwrap();
            assert_eq!(text, format!("Include \"{}\"\nHost a\n  User b", ours.display()));
        }
        assert_eq!(std::fs::metadata(&theirs).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(remove(&paths).unwrap());
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "Host a\n  User b");
        assert!(!remove(&paths).unwrap());
    }

    #[test]
    fn a_missing_configuration_is_made_and_a_symlink_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let paths = paths(scratch.path());
        let theirs = paths.home.join(".ssh/config");
        install(&paths, Path::new("/devbox")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&theirs), mode(theirs.parent().unwrap())), (0o600, 0o700));
        let elsewhere = scratch.path().join("dotfiles");
        std::fs::rename(&theirs, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &theirs).unwrap();
        remove(&paths).unwrap();
        assert!(std::fs::symlink_metadata(&theirs).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "");
        // One that has nothing else goes.
        std::fs::remove_file(&theirs).unwrap();
        install(&paths, Path::new("/devbox")).unwrap();
        assert!(remove(&paths).unwrap() && !theirs.exists());
    }

    #[test]
    fn each_box_has_a_literal_host() {
        let paths = paths(Path::new("/h"));
        let hosts = [Host { name: "shop".into(), user: "dev".into() }];
        let text = text(&hosts, Path::new("/it's 100%/devbox"), &KeyFiles::new(&paths));
        assert!(text.contains("\nHost shop.devbox\n"), "{text}");
        assert!(text.contains(r"  ProxyCommand '/it'\''s 100%%/devbox' ssh-proxy -- 'shop'"), "{text}");
        assert!(
            text.contains("  User dev\n") && text.contains("  IdentityFile \"/h/data/ssh/id_ed25519\"\n"),
            "{text}"
        );
        assert!(text.ends_with(&block(OTHERS, "'%n'", "root", Path::new("/it's 100%/devbox"), &KeyFiles::new(&paths))));
    }
}
