//! Reading a stack of overlayfs layers without mounting it.
//!
//! Whiteouts and opaque directories are understood in the forms of overlayfs (privileged and `userxattr`) and of
//! fuse-overlayfs. What is in the layers is hostile: no symbolic link is followed, and nothing outside is opened.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::sys::{self, SysResult};

/// Prefixes of overlayfs' extended attributes.
const ATTRIBUTE_PREFIXES: [&str; 3] = ["user.overlay.", "trusted.overlay.", "user.fuseoverlayfs."];
/// Prefix of the names of whiteouts that are files, made where devices cannot be.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Name of the file that makes its directory opaque.
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// Longest redirect that is read, in bytes.
const MAX_REDIRECT_BYTES: usize = 4096;

/// Layers, open, the topmost first.
#[derive(Debug)]
pub struct Stack {
    roots: Vec<OwnedFd>,
    /// Where files with metadata only find their content.
    data_only: Vec<OwnedFd>,
    whiteout_files: bool,
}

/// How the layers of a stack say that something is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Marks {
    /// As the kernel does: devices and extended attributes. Files called `.wh.x` are files like others.
    #[default]
    Kernel,
    /// As fuse-overlayfs does, which understands the kernel's marks and `.wh.x` as well.
    Files,
}

/// Layers of a stack that have a certain directory, by number, the topmost first.
pub type Shares = Vec<usize>;

/// A directory as the layers have it.
#[derive(Debug)]
pub struct Merged<'a> {
    stack: &'a Stack,
    parts: Vec<(usize, OwnedFd)>,
}

/// What a name in a directory stands for.
#[derive(Debug)]
pub enum Node {
    /// No layer mentions it.
    Absent,
    /// The topmost layer that mentions it says that it is gone.
    Whiteout,
    /// Anything but a directory, in the layer at this index of the directory's parts.
    Leaf {
        /// Index of the layer that has it, among those of the directory.
        part: usize,
        /// Its attributes.
        stat: Stat,
    },
    /// A directory.
    Directory {
        /// The layers that have it.
        shares: Shares,
        /// Its attributes, as the topmost layer has them.
        stat: Stat,
        /// Whether what lies below these layers is hidden.
        cut: bool,
    },
}

impl Stack {
    /// Opens directories, the topmost first.
    pub fn open(layers: &[PathBuf], data_only: &[PathBuf], marks: Marks) -> SysResult<Self> {
        let open = |paths: &[PathBuf]| paths.iter().map(|path| sys::fs::open_path(path)).collect::<SysResult<Vec<_>>>();
        Ok(Self { roots: open(layers)?, data_only: open(data_only)?, whiteout_files: marks == Marks::Files })
    }

    /// Opens the directory `path` (relative to the root) of the layers `shares`.
    pub fn directory(&self, shares: &[usize], path: &Path) -> Result<Merged<'_>, Errno> {
        let parts = shares.iter().map(|&layer| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open_beneath(&self.roots[layer], path, flags).map(|directory| (layer, directory))
        });
        Ok(Merged { stack: self, parts: parts.collect::<Result<_, Errno>>()? })
    }

    /// Follows `path` through the layers `shares`, then hands its parent and its name to `then`. `enter` tells which
    /// layers have the directory that a path on the way was found to be.
    pub fn reach<T>(
        &self,
        mut shares: Shares,
        path: &Path,
        enter: impl Fn(&Path, Node) -> Shares,
        then: impl FnOnce(&Merged<'_>, &OsStr) -> Option<T>,
    ) -> Option<T> {
        let mut here = PathBuf::new();
        for name in path.parent()?.components() {
            let found = self.directory(&shares, &here).ok()?.look_up(name.as_os_str());
            here.push(name);
            shares = enter(&here, found);
        }
        then(&self.directory(&shares, &here).ok()?, path.file_name()?)
    }
}

impl Merged<'_> {
    /// Every name that a layer mentions, whiteouts included.
    pub fn names(&self) -> Result<BTreeSet<OsString>, Errno> {
        let mut names = BTreeSet::new();
        for (_, directory) in &self.parts {
            for entry in rustix::fs::Dir::read_from(directory)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if matches!(name.as_slice(), b"." | b"..") || (self.stack.whiteout_files && name == OPAQUE_MARK) {
                    continue;
                }
                let hidden = name.strip_prefix(WHITEOUT_PREFIX).filter(|_| self.stack.whiteout_files);
                names.insert(OsString::from_vec(hidden.map(<[u8]>::to_vec).unwrap_or(name)));
            }
        }
        Ok(names)
    }

    /// What `name` stands for.
    pub fn look_up(&self, name: &OsStr) -> Node {
        let mut shares = Vec::new();
        let mut top = None;
        let mut cut = false;
        for (part, (layer, directory)) in self.parts.iter().enumerate() {
            let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                if self.stack.whiteout_files && has_whiteout_file(directory, name) {
                    cut = true;
                    break;
                }
                continue;
            };
            if is_whiteout(directory, name, &stat) {
                cut = true;
                break;
            }
            if file_type(&stat) != FileType::Directory {
                if top.is_none() {
                    return Node::Leaf { part, stat };
                }
                cut = true;
                break;
            }
            shares.push(*layer);
            top.get_or_insert(stat);
            if is_opaque(directory, name) || (self.stack.whiteout_files && has_opaque_file(directory, name)) {
                cut = true;
                break;
            }
        }
        match top {
            Some(stat) => Node::Directory { shares, stat, cut },
            None if cut => Node::Whiteout,
            None => Node::Absent,
        }
    }

    /// Whether the leaf has metadata only: its content is that of the layers below.
    pub fn is_metadata_only(&self, part: usize, name: &OsStr) -> bool {
        attribute(&self.parts[part].1, name, "metacopy").is_some()
    }

    /// The content of the regular file found at `part`, wherever it lies. `None` if it cannot be read.
    pub fn content(&self, part: usize, name: &OsStr) -> Option<File> {
        for (layer, directory) in &self.parts[part..] {
            if attribute(directory, name, "metacopy").is_none() {
                let file = open_beneath(directory, Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK).ok();
                if let Some(file) = file.filter(is_regular) {
                    return Some(File::from(file));
                }
                continue;
            }
            let Some(redirect) = attribute(directory, name, "redirect") else { continue };
            let path = PathBuf::from(OsString::from_vec(redirect));
            let Ok(path) = path.strip_prefix("/") else { continue };
            let below = &self.stack.roots[layer + 1..];
            let places = self.stack.data_only.iter().chain(below);
            let mut files = places.filter_map(|root| open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK).ok());
            return files.find(is_regular).map(File::from);
        }
        None
    }

    /// Where the symbolic link found at `part` leads.
    pub fn link_target(&self, part: usize, name: &OsStr) -> Option<CString> {
        rustix::fs::readlinkat(&self.parts[part].1, name, Vec::new()).ok()
    }

    /// The directory itself in the topmost layer that has it; `None` when no layer does.
    pub fn top(&self) -> Option<&OwnedFd> {
        self.parts.first().map(|(_, directory)| directory)
    }

    /// A path of `name`, not of what it leads to, in the layer at `part`, as long as this lives.
    pub fn path(&self, part: usize, name: &OsStr) -> PathBuf {
        sys::fs::proc_path(&self.parts[part].1).join(name)
    }
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn is_regular(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| file_type(&stat) == FileType::RegularFile)
}

/// The type of a file.
#[must_use]
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(directory: &OwnedFd, name: &OsStr, stat: &Stat) -> bool {
    match file_type(stat) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::RegularFile => stat.st_size == 0 && attribute(directory, name, "whiteout").is_some(),
        _ => false,
    }
}

fn has_whiteout_file(directory: &OwnedFd, name: &OsStr) -> bool {
    let name = [WHITEOUT_PREFIX, name.as_bytes()].concat();
    rustix::fs::statat(directory, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_opaque(directory: &OwnedFd, name: &OsStr) -> bool {
    attribute(directory, name, "opaque").as_deref() == Some(b"y")
}

fn has_opaque_file(directory: &OwnedFd, name: &OsStr) -> bool {
    let mark = Path::new(name).join(OsStr::from_bytes(OPAQUE_MARK));
    rustix::fs::statat(directory, &mark, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The value of overlayfs' attribute `attribute` of `name`, in whichever name space it is.
fn attribute(directory: &OwnedFd, name: &OsStr, attribute: &str) -> Option<Vec<u8>> {
    let path = sys::fs::proc_path(directory).join(name);
    let mut value = vec![0; MAX_REDIRECT_BYTES];
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| {
        let length = rustix::fs::lgetxattr(&path, format!("{prefix}{attribute}"), &mut value[..]).ok()?;
        Some(value[..length].to_vec())
    })
}
