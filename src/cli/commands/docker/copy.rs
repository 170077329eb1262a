//! `docker cp`: archives go through `tar` in the container, files and folders also through the host's.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};

use crate::cli::Outcome;
use crate::cli::args::docker::Copy;
use crate::docker::command::Command;
use crate::docker::{Container, DockerError, container};
use crate::error::Error;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// An archive on standard input or output.
    Archive,
    /// A path of the host.
    Host(PathBuf),
    /// A path of a container.
    Inside { container: String, path: String },
}

fn place(folder: &Path, text: &str) -> Place {
    match text.split_once(':') {
        _ if text == "-" => Place::Archive,
        Some((name, path)) if !name.is_empty() && !name.contains('/') && !name.starts_with('.') => {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            Place::Inside { container: name.to_owned(), path }
        }
        _ => Place::Host(folder.join(text)),
    }
}

/// Copies one way or the other.
pub fn run(paths: &Paths, folder: &Path, args: &Copy) -> Outcome {
    match (place(folder, &args.source), place(folder, &args.target)) {
        (Place::Inside { container: name, path }, target) if !matches!(target, Place::Inside { .. }) => {
            out(paths, &container::find(paths, &name)?, &path, &target)
        }
        (source, Place::Inside { container: name, path }) if !matches!(source, Place::Inside { .. }) => {
            into(paths, &container::find(paths, &name)?, &source, &path, args.archive)
        }
        _ => Err(Error::new("one side must be a container and the other must not").hint("write CONTAINER:PATH")),
    }
}

/// Runs a script for root of the container, whose arguments are `words`.
fn inside(
    paths: &Paths,
    container: &Container,
    script: &str,
    words: &[&str],
    input: OwnedFd,
    output: OwnedFd,
) -> Outcome {
    let head = ["/bin/sh", "-c", script, "cp"].into_iter().chain(words.iter().copied());
    let arguments: Vec<OsString> = head.map(OsString::from).collect();
    let command = Command { arguments: &arguments, user: Some("root"), directory: Some("/"), variables: &[] };
    let error = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned().map_err(failed)?;
    let status = command.join(paths, container, Some([input, output, error]), &|| ())?;
    if status == 0 { Ok(0) } else { Err(Error::new(format!("the copy ended with status {status}"))) }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(format!("cannot copy: {error}"))
}

fn null() -> Result<OwnedFd, Error> {
    Ok(crate::sys::fs::null().map_err(DockerError::from)?)
}

/// Names the parent and the last part, and packs that.
const PACK: &str = "[ -e \"$1\" ] || [ -L \"$1\" ] || { echo \"no such file in the container: $1\" >&2; exit 1; }
case $1 in */.|/) cd \"$1\" && exec tar -cf - . ;; esac
d=${1%/}; b=${d##*/}; d=${d%/*}; cd \"${d:-/}\" && exec tar -cf - -- \"$b\"";

fn out(paths: &Paths, container: &Container, path: &str, target: &Place) -> Outcome {
    let target = match target {
        Place::Host(target) => target,
        _ => {
            let output = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned().map_err(failed)?;
            return inside(paths, container, PACK, &[path], null()?, output);
        }
    };
    // Where there is no such folder, what comes out is called so.
    let (place, name) = if target.is_dir() {
        (target.as_path(), None)
    } else {
        (target.parent().unwrap_or(Path::new("/")), target.file_name())
    };
    let scratch = tempfile::Builder::new().prefix(".devbox-cp-").tempdir_in(place).map_err(failed)?;
    let mut tar = host_tar(&["-xf", "-", "--no-same-owner"], scratch.path(), Stdio::piped(), Stdio::null())?;
    let input = tar.child.stdin.take().map(OwnedFd::from).ok_or_else(|| Error::new("cannot copy: no pipe"))?;
    tar.end(inside(paths, container, PACK, &[path], null()?, input))?;
    let entries = std::fs::read_dir(scratch.path()).map_err(failed)?;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let to = place.join(name.map_or_else(|| entry.file_name(), OsString::from));
        if to.is_file() || to.is_symlink() {
            std::fs::remove_file(&to).map_err(failed)?;
        }
        std::fs::rename(entry.path(), &to).map_err(failed)?;
    }
    Ok(0)
}

fn into(paths: &Paths, container: &Container, source: &Place, path: &str, keep_owners: bool) -> Outcome {
    let owners = if keep_owners { "" } else { "o" };
    let unpack = format!(
        "[ -d \"$1\" ] || {{ echo \"no such folder in the container: $1\" >&2; exit 1; }}\ncd \"$1\" && exec tar -x{owners}f -"
    );
    let source = match source {
        Place::Host(source) => source,
        _ => {
            let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().map_err(failed)?;
            return inside(paths, container, &unpack, &[path], input, null()?);
        }
    };
    let meta = std::fs::metadata(source)
        .map_err(|error| Error::new(format!("cannot read `{}`: {error}", sanitize(&source.to_string_lossy()))))?;
    if !meta.is_dir() {
        let mode = format!("{:o}", std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777);
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = "t=$1; [ -d \"$t\" ] && t=${t%/}/$2; cat >\"$t\" && chmod \"$3\" \"$t\"";
        let input = File::open(source).map_err(failed)?.into();
        return inside(paths, container, script, &[path, &name, &mode], input, null()?);
    }
    // A folder goes into one that is there, and becomes one that is not.
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let only_content = source.to_string_lossy().ends_with("/.");
    let script = if only_content {
        "mkdir -p \"$1\" && cd \"$1\" && exec tar -xof -"
    } else {
        "t=$1; [ -d \"$t\" ] && t=${t%/}/$2; mkdir -p \"$t\" && cd \"$t\" && exec tar -xof -"
    };
    let mut tar = host_tar(&["-cf", "-", "."], source, Stdio::null(), Stdio::piped())?;
    let output = tar.child.stdout.take().map(OwnedFd::from).ok_or_else(|| Error::new("cannot copy: no pipe"))?;
    tar.end(inside(paths, container, script, &[path, &name], output, null()?))?;
    Ok(0)
}

fn host_tar(arguments: &[&str], folder: &Path, input: Stdio, output: Stdio) -> Result<Tar, Error> {
    let said = tempfile::tempfile().map_err(failed)?;
    let errors = said.try_clone().map_err(failed)?;
    let mut program = Program::new("tar");
    program.args(arguments).current_dir(folder).stdin(input).stdout(output).stderr(errors);
    let child = program
        .spawn()
        .map_err(|error| Error::new(format!("cannot run `tar`: {error}")).hint("install the package `tar`"))?;
    Ok(Tar { child, said })
}

/// The host's `tar`. What it says counts only where the container's side succeeded: of nothing it says that it is no archive.
struct Tar {
    child: Child,
    said: File,
}

impl Tar {
    /// Waits for its end; `other` is how the container's side ended.
    fn end(mut self, other: Outcome) -> Result<(), Error> {
        let status = self.child.wait().map_err(failed)?;
        other?;
        let mut said = String::new();
        self.said.rewind().and_then(|()| self.said.read_to_string(&mut said)).map_err(failed)?;
        if status.success() {
            said.lines().for_each(ui::say);
            return Ok(());
        }
        let mut error = Error::new(format!("`tar` ended with {status}"));
        error.causes.extend(said.lines().map(str::to_owned));
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let inside = |container: &str, path: &str| Place::Inside { container: container.into(), path: path.into() };
        for (text, expected) in [
            ("-", Place::Archive),
            ("shop:/etc/os-release", inside("shop", "/etc/os-release")),
            ("shop:etc", inside("shop", "/etc")),
            ("shop:/a:b", inside("shop", "/a:b")),
            ("./a:b", Place::Host("/here/./a:b".into())),
            ("/a:b", Place::Host("/a:b".into())),
            ("file", Place::Host("/here/file".into())),
        ] {
            assert_eq!(place(Path::new("/here"), text), expected, "{text}");
        }
    }
}
