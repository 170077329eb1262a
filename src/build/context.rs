//! The build context: the files that a build may take, and the Containerfile.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::copy::walk::Fate;
use super::error::{At, BuildError};
use super::fetch::{self, Options, Remote};
use super::language::{IgnorePatterns, Verdict};
use super::request::{ContextSource, IMAGE_CONTEXT, Request};
use crate::image::layer::{Owners, UnpackOptions, Whiteouts, unpack_layer};
use crate::image::store::{LayerBuild, Store};
use crate::paths::Paths;
use crate::userns::idmap::IdMap;

/// Names of a Containerfile in a context, the first that exists counts.
pub const FILES: [&str; 2] = crate::profile::CONTAINERFILES;
/// Names of ignore files, and ends of their names beside a Containerfile.
const IGNORE_FILES: [&str; 2] = [".containerignore", ".dockerignore"];
/// No Containerfile is longer.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The files of a build.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    ignore: IgnorePatterns,
    /// What nobody may see of it, relative to the root.
    masked: Vec<PathBuf>,
    /// The Containerfile's name in messages, and its text.
    pub file: (PathBuf, String),
    /// The directories of named contexts that are no images.
    named: BTreeMap<String, PathBuf>,
    /// Where contexts lie that had to be fetched; removed with this.
    _temporary: Vec<LayerBuild>,
}

impl Context {
    /// Fetches the context where it is not a directory already, and reads Containerfile and ignore file. Whatever is
    /// read of standard input is read here.
    pub fn open(paths: &Paths, store: &Store, map: &IdMap, request: &Request) -> Result<Self, BuildError> {
        let mut temporary = Vec::new();
        let mut place = || -> Result<PathBuf, BuildError> {
            let build = store.begin(map)?;
            let path = build.path().join("context");
            std::fs::create_dir(&path).at("create", &path)?;
            temporary.push(build);
            Ok(path)
        };
        let mut given = None;
        let root = match &request.context {
            ContextSource::Directory(path) => std::fs::canonicalize(path).at("open the build context", path)?,
            ContextSource::Remote(text) => fetch_context(paths, request, text, &place()?)?,
            ContextSource::Standard => {
                let root = place()?;
                given = standard_input(&root)?;
                root
            }
        };
        let masked = masked_below(&root, request)?;
        let mut named = BTreeMap::new();
        for (name, value) in request.contexts.iter().filter(|(_, value)| !value.starts_with(IMAGE_CONTEXT)) {
            let directory = match Remote::parse(value) {
                Some(_) => fetch_context(paths, request, value, &place()?)?,
                None => PathBuf::from(value),
            };
            named.insert(name.clone(), directory);
        }
        let file = match (given, &request.file) {
            (Some(text), _) => (PathBuf::from("<standard input>"), text),
            (None, Some(path)) if path == Path::new("-") => {
                (PathBuf::from("<standard input>"), read_text(std::io::stdin().lock(), path)?)
            }
            (None, Some(path)) => {
                // A name may also be one of a context that was fetched.
                let inside = root.join(path.file_name().unwrap_or_default());
                let path = if !path.exists() && inside.exists() { &inside } else { path };
                require_visible(path, request)?;
                (path.clone(), read_file(path)?)
            }
            (None, None) => {
                let found = FILES.iter().map(|name| root.join(name)).find(|path| path.exists());
                let path = found.ok_or_else(|| BuildError::NoFile { context: root.clone() })?;
                require_visible(&path, request)?;
                let text = read_file(&path)?;
                (path, text)
            }
        };
        let ignore = ignore_file(&root, &file.0)?;
        Ok(Self { root, ignore, masked, file, named, _temporary: temporary })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the context `name`; `None`: it is an image.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Path> {
        self.named.get(name).map(PathBuf::as_path)
    }

    /// What the ignore file says about `path`, relative to the root; what nobody may see is dropped.
    #[must_use]
    pub fn fate(&self, path: &Path) -> Fate {
        if self.is_masked(path) { Fate::Dropped } else { fate_of(self.ignore.verdict(path)) }
    }

    /// Whether nobody may see `path`, without symlinks beneath the root.
    #[must_use]
    pub fn is_masked(&self, path: &Path) -> bool {
        let path = path.strip_prefix("/").unwrap_or(path);
        self.masked.iter().any(|masked| path.starts_with(masked))
    }

    /// Whether something of the directory is left out.
    #[must_use]
    pub fn ignores_anything(&self) -> bool {
        !self.ignore.is_empty() || !self.masked.is_empty()
    }
}

/// What patterns come to.
#[must_use]
pub fn fate_of(verdict: Verdict) -> Fate {
    match verdict {
        Verdict::Keep => Fate::Kept,
        Verdict::Skip => Fate::Searched,
        Verdict::SkipTree => Fate::Dropped,
    }
}

/// What of `request.masked` lies below `root`, which has no symlinks: by the names that were given, and where they lead.
fn masked_below(root: &Path, request: &Request) -> Result<Vec<PathBuf>, BuildError> {
    require_visible(root, request)?;
    let below = places(&request.masked).filter_map(|path| path.strip_prefix(root).ok().map(Path::to_owned));
    Ok(below.collect())
}

/// Refuses `path` if it lies in what nobody may see.
fn require_visible(path: &Path, request: &Request) -> Result<(), BuildError> {
    let real = std::fs::canonicalize(path).at("open", path)?;
    match places(&request.masked).any(|masked| real.starts_with(masked)) {
        true => Err(BuildError::Masked { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Paths, and where they lead.
fn places(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    paths.iter().flat_map(|path| [Some(path.clone()), std::fs::canonicalize(path).ok()]).flatten()
}

/// Fetches a context, a repository or an archive, into the empty directory `place`; returns its root.
fn fetch_context(paths: &Paths, request: &Request, text: &str, place: &Path) -> Result<PathBuf, BuildError> {
    let no_context = || BuildError::NoContext { text: text.to_owned() };
    let remote = Remote::parse(text).ok_or_else(no_context)?;
    let options = Options { checksum: None, keep_git_dir: false, agent: request.agent() };
    let fetched = fetch::fetch(paths, &remote, &options, place)?;
    if !fetched.is_directory {
        let (archive, root) = (place.join(&fetched.name), place.join("unpacked/context"));
        std::fs::create_dir_all(&root).at("create", &root)?;
        unpack(std::fs::File::open(&archive).at("open", &archive)?, &root, text)?;
        return Ok(root);
    }
    let inside = Path::new("/").join(super::copy::select::clean(&fetched.name));
    let handle = crate::sys::fs::open_path(&fetched.root)?;
    let root = super::copy::select::Mounted(std::os::fd::AsFd::as_fd(&handle));
    let real = root.real_path(&inside).ok_or_else(no_context)?;
    Ok(fetched.root.join(real.strip_prefix("/").unwrap_or(&real)))
}

/// Unpacks the archive that is a context into the directory `root`.
fn unpack(archive: impl Read + Send, root: &Path, name: &str) -> Result<(), BuildError> {
    let directory = crate::sys::fs::open_directory(root)?;
    let options = UnpackOptions { owners: Owners::Squash, whiteouts: Whiteouts::Literal, ..UnpackOptions::default() };
    unpack_layer(archive, std::os::fd::AsFd::as_fd(&directory), options)
        .map(drop)
        .map_err(|source| BuildError::Archive { name: name.to_owned(), source })
}

/// The ignore file: one for this Containerfile alone stands beside it, one for all in the context.
fn ignore_file(root: &Path, file: &Path) -> Result<IgnorePatterns, BuildError> {
    let beside = IGNORE_FILES.iter().map(|end| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    let inside = IGNORE_FILES.iter().map(|name| root.join(name));
    match beside.chain(inside).find(|path| path.is_file()) {
        Some(path) => Ok(IgnorePatterns::parse(&path, &read_file(&path)?)?),
        None => Ok(IgnorePatterns::default()),
    }
}

fn read_file(path: &Path) -> Result<String, BuildError> {
    read_text(std::fs::File::open(path).at("open", path)?, path)
}

fn read_text(reader: impl Read, path: &Path) -> Result<String, BuildError> {
    let mut text = String::new();
    reader.take(MAX_FILE_BYTES).read_to_string(&mut text).at("read", path)?;
    Ok(text)
}

/// Standard input: an archive is unpacked into `root`; a text is the Containerfile, and the context empty.
fn standard_input(root: &Path) -> Result<Option<String>, BuildError> {
    let name = Path::new("<standard input>");
    let mut input = std::io::stdin().lock();
    let mut begin = Vec::new();
    input.by_ref().take(512).read_to_end(&mut begin).at("read", name)?;
    if !begin.contains(&0) && std::str::from_utf8(&begin).is_ok_and(|text| !text.contains("\u{fffd}")) {
        return read_text(begin.as_slice().chain(input), name).map(Some);
    }
    drop(input);
    unpack(std::io::Cursor::new(begin).chain(std::io::stdin()), root, "<standard input>")?;
    Ok(None)
}
