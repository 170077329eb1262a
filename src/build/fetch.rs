//! `ADD` of what lies elsewhere: files of servers, git repositories; and of archives, which are unpacked.

use std::fs::{File, FileTimes};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use rustix::fs::OFlags;

use super::copy::select::{Mounted, Selected};
use super::copy::walk::Fate;
use super::copy::write::{self, Destination, Owner};
use super::downloads;
use super::error::{At, BuildError};
use super::events::Input;
use crate::image::digest::{Algorithm, Digest};
use crate::image::layer::{Owners, UnpackOptions, Whiteouts, unpack_layer};
use crate::paths::{self, Paths};
use crate::process::Program;
use crate::profile::lock::is_commit;
use crate::registry::{Client, Downloaded, Settings};
use crate::sys::fs::{Root, open_path};

/// Bytes of a tar header.
const BLOCK: usize = 512;

/// Something that is not in the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A file of a server.
    Url(String),
    /// A repository, what of it (a branch, a tag, a commit), and a directory in it.
    Git {
        /// Where it is.
        url: String,
        /// What of it; `HEAD` if that was not said.
        reference: String,
        /// Which part; empty for all.
        directory: String,
    },
}

impl Remote {
    /// Reads a source of `ADD`, or a context. `None`: a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        let is_git = url.starts_with("git://")
            || url.starts_with("ssh://")
            || (url.starts_with("git@") && url.contains(':'))
            || ((is_http || url.starts_with("file://")) && url.ends_with(".git"));
        if is_git {
            let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
            let reference = if reference.is_empty() { "HEAD" } else { reference };
            return Some(Self::Git {
                url: url.to_owned(),
                reference: reference.to_owned(),
                directory: directory.to_owned(),
            });
        }
        is_http.then(|| Self::Url(text.to_owned()))
    }
}

impl Remote {
    /// What it is called among the inputs of a build, and whether what it is can change.
    #[must_use]
    pub fn input(&self) -> (Input, String) {
        match self {
            Self::Url(url) => (Input::File, url.clone()),
            Self::Git { url, reference, .. } => (Input::Commit, format!("{url}#{reference}")),
        }
    }

    /// Whether its name says which state of it is meant.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Git { reference, .. } if is_commit(reference))
    }

    /// The state of it that `pin` names, and the checksum for that.
    #[must_use]
    pub fn at(self, pin: &str) -> Self {
        match self {
            Self::Url(_) => self,
            Self::Git { url, directory, .. } => Self::Git { url, reference: pin.to_owned(), directory },
        }
    }
}

/// How to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The digest that the file must have.
    pub checksum: Option<&'a str>,
    /// `.git` is kept.
    pub keep_git_dir: bool,
    /// The socket of an SSH agent; `None`: that of the environment.
    pub agent: Option<&'a Path>,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The tree that it is in.
    pub root: PathBuf,
    /// Its path there.
    pub name: String,
    /// It is a directory.
    pub is_directory: bool,
    /// A digest of the file, or the commit.
    pub pin: String,
}

/// Fetches `remote` into the empty directory `place`.
pub fn fetch(paths: &Paths, remote: &Remote, options: &Options<'_>, place: &Path) -> Result<Fetched, BuildError> {
    match remote {
        Remote::Url(url) => download(paths, url, options, place),
        Remote::Git { url, reference, directory } => clone(url, reference, directory, options, place),
    }
}

fn download(paths: &Paths, url: &str, options: &Options<'_>, place: &Path) -> Result<Fetched, BuildError> {
    let expected = options
        .checksum
        .map(|text| text.parse::<Digest>().map_err(|source| BuildError::Checksum { text: text.to_owned(), source }));
    let expected = expected.transpose()?;
    // The part behind the last slash, without query.
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let name = plain.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
    let name = name.unwrap_or("index").to_owned();
    let path = place.join(&name);
    let kept = downloads::Place::of(paths, url);
    let known = kept.known();
    let (condition, digest) = match known {
        // What has the digest that was asked for need not be asked for again.
        Some(known) if expected.as_ref() == Some(&known.digest) => {
            kept.take(&path)?;
            (known.condition, known.digest)
        }
        known => {
            let condition = known.as_ref().map(|known| known.condition.clone()).unwrap_or_default();
            let mut file = File::create(&path).at("create", &path)?;
            let client = Client::new(Settings::default(), paths);
            let downloaded = client.download(url, &condition, &mut file).map_err(BuildError::Download)?;
            if downloaded == Downloaded::Unchanged {
                kept.take(&path)?;
            }
            let algorithm = expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
            let digest = downloads::digest_of(&path, algorithm)?;
            if let Some(expected) = expected.filter(|expected| *expected != digest) {
                return Err(BuildError::WrongChecksum { url: url.to_owned(), expected, found: digest });
            }
            match downloaded {
                Downloaded::Unchanged => (condition, digest),
                Downloaded::Fresh(condition) => {
                    kept.keep(&path, condition.clone())?;
                    (condition, digest)
                }
            }
        }
    };
    let modified = condition.modified.as_deref().and_then(http_date).unwrap_or(SystemTime::UNIX_EPOCH);
    let file = File::options().write(true).open(&path).at("open", &path)?;
    file.set_times(FileTimes::new().set_modified(modified)).at("change the times of", &path)?;
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&path, mode).at("change the mode of", &path)?;
    Ok(Fetched { root: place.to_owned(), name, is_directory: false, pin: digest.to_string() })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    let time = jiff::fmt::rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Fetches one commit with the host's `git`. What the repository brings is not executed: neither hooks nor filters nor
/// transports of its choice.
fn clone(
    url: &str,
    reference: &str,
    directory: &str,
    options: &Options<'_>,
    place: &Path,
) -> Result<Fetched, BuildError> {
    let path = paths::variable("PATH").unwrap_or_default();
    let program = which::which_in("git", Some(&path), "/").map_err(|_| BuildError::NoGit)?;
    let tree = place.join("tree");
    std::fs::create_dir(&tree).at("create", &tree)?;
    let git = |arguments: &[&str]| {
        let mut git = Program::new(&program)
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never"])
            .args(["-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main", "-c", "core.symlinks=true"])
            .args(["-C".as_ref(), tree.as_os_str()])
            .args(arguments)
            .env("PATH", path.clone())
            .env("GIT_TERMINAL_PROMPT", "0")
            // Nobody is there to be asked for a password, or whether a host is known.
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        if let Some(agent) = options.agent {
            git = git.env("SSH_AUTH_SOCK", agent);
        }
        let inherited = ["SSH_AUTH_SOCK"].into_iter().filter(|_| options.agent.is_none());
        for name in inherited.chain(["HOME", "XDG_CONFIG_HOME", "GIT_SSH_COMMAND"]) {
            if let Some(value) = paths::variable(name) {
                git = git.env(name, value);
            }
        }
        git.output().map_err(BuildError::Git)
    };
    git(&["init", "--quiet"])?;
    git(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, reference])?;
    git(&["checkout", "--quiet", "FETCH_HEAD", "--"])?;
    if tree.join(".gitmodules").exists() {
        git(&["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
    }
    let found = String::from_utf8_lossy(&git(&["rev-parse", "HEAD"])?).trim().to_owned();
    if let Some(wanted) = options.checksum.filter(|wanted| !found.starts_with(wanted)) {
        return Err(BuildError::WrongCommit { url: url.to_owned(), expected: wanted.to_owned(), found });
    }
    if !options.keep_git_dir {
        std::fs::remove_dir_all(tree.join(".git")).at("remove", &tree.join(".git"))?;
    }
    let name = if directory.is_empty() { ".".to_owned() } else { directory.to_owned() };
    Ok(Fetched { root: tree, name, is_directory: true, pin: found })
}

/// How a file is compressed that the layers' reader does not know; a program of the host undoes it.
fn program(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}

/// A reader of the uncompressed content.
fn decompressed(file: File) -> Option<Box<dyn Read + Send>> {
    use std::io::Seek;
    let mut file = file;
    let mut magic = [0; 6];
    let length = file.read(&mut magic).ok()?;
    file.rewind().ok()?;
    match &magic[..length] {
        [0x1f, 0x8b, ..] => Some(Box::new(MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Box::new(zstd::stream::read::Decoder::new(file).ok()?)),
        magic => match program(magic) {
            None => Some(Box::new(file)),
            Some(name) => {
                let path = paths::variable("PATH").unwrap_or_default();
                let program = which::which_in(name, Some(&path), "/").ok()?;
                let mut command = std::process::Command::new(program);
                command.arg("-dc").stdin(Stdio::from(file)).stdout(Stdio::piped()).stderr(Stdio::null());
                Some(Box::new(command.spawn().ok()?.stdout.take()?))
            }
        },
    }
}

fn open(source: Mounted<'_>, path: &Path) -> Option<File> {
    Root::new(source.0).open_plain(path, OFlags::RDONLY).ok().map(File::from)
}

/// Whether the file at `path` is a tar archive, compressed or not.
#[must_use]
pub fn is_archive(source: Mounted<'_>, path: &Path) -> bool {
    let Some(reader) = open(source, path).and_then(decompressed) else { return false };
    let mut header = Vec::with_capacity(BLOCK);
    reader.take(BLOCK as u64).read_to_end(&mut header).is_ok_and(|count| count == BLOCK) && is_header(&header)
}

/// The sum of a header's bytes stands in it; an empty archive begins with zeros.
fn is_header(block: &[u8]) -> bool {
    let field = String::from_utf8_lossy(&block[148..156]);
    let stored = u32::from_str_radix(field.trim_matches(|c: char| c == '\0' || c == ' '), 8);
    let sum = |block: &[u8]| block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let own = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
    stored.is_ok_and(|stored| stored == own)
}

/// Unpacks the archive at `path` of `source` into the directory `destination` of `target`: beside it first, so that
/// nothing in the archive meets a symlink of the image. Runs as the root of the image's ids.
pub fn unpack(
    source: Mounted<'_>,
    path: &Path,
    scratch: &Path,
    target: Mounted<'_>,
    destination: &Destination,
    options: &write::Options,
) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let place = tempfile::Builder::new().prefix("archive-").tempdir_in(scratch).map_err(|error| text(&error))?.keep();
    let handle = open_path(&place).map_err(|error| text(&error))?;
    let directory = crate::sys::fs::open_directory(&place).map_err(|error| text(&error))?;
    let reader = open(source, path).and_then(decompressed).ok_or("the archive cannot be read")?;
    let owners = if options.single_owner { Owners::Remember } else { Owners::Keep };
    let how = UnpackOptions { owners, whiteouts: Whiteouts::Literal, ..UnpackOptions::default() };
    unpack_layer(reader, directory.as_fd(), how).map_err(|error| text(&error))?;
    let everything = Selected { path: "/".into(), called: PathBuf::new(), pivot: 0, is_directory: true };
    // Owners are the archive's unless somebody else was named.
    let owner = if options.owner == Owner::Set(0, 0) { Owner::Kept } else { options.owner };
    let options = write::Options { owner, parents: false, ..options.clone() };
    let destination = Destination { is_directory: true, ..destination.clone() };
    write::copy(Mounted(handle.as_fd()), &[everything], &|_, _, _| Fate::Kept, target, &destination, &options)
        .map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_told_from_paths() {
        let git = |url: &str, reference: &str, directory: &str| {
            Some(Remote::Git { url: url.into(), reference: reference.into(), directory: directory.into() })
        };
        let table = [
            ("a/b", None),
            ("https", None),
            ("https://host/x.tar.gz", Some(Remote::Url("https://host/x.tar.gz".into()))),
            ("https://host/x.git", git("https://host/x.git", "HEAD", "")),
            ("https://host/x.git#v1:docs", git("https://host/x.git", "v1", "docs")),
            ("git@host:x/y.git#:sub", git("git@host:x/y.git", "HEAD", "sub")),
            ("git://host/x", git("git://host/x", "HEAD", "")),
        ];
        for (text, expected) in table {
            assert_eq!(Remote::parse(text), expected, "{text}");
        }
        let time = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 784_111_777);
        assert_eq!(http_date("yesterday"), None);
    }
}
