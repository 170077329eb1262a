//! Whether this kernel mounts a metadata-only layer in a user namespace: a real mount, read through.

use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;

use super::entry::{Facts, Writer};
use super::walk::open_directory;
use crate::base::driver::{self, FuseError};
use crate::sys::clone::{self, Forked, Namespaces};
use crate::sys::fs::pipe;
use crate::sys::mount::{Attributes, Mount, Parameter};
use crate::sys::process::{self, Ended};
use crate::sys::{Context, SysResult};
use crate::userns::idmap::IdMap;
use crate::userns::mapper;

/// What this machine offers for the host base of an ordinary user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Why no metadata-only layer can be mounted; `None`: it can.
    pub metadata: Option<String>,
    /// Why `fuse-overlayfs` cannot be used instead; `None`: it can.
    pub fuse: Option<FuseError>,
}

/// Tries a mount with its layers in `directory`, which exists and belongs to the user: the file system counts too.
pub fn probe(directory: &Path) -> Probe {
    let metadata = match try_mount(directory) {
        Ok(reason) => reason,
        Err(error) => Some(error.to_string()),
    };
    Probe { metadata, fuse: driver::find_fuse_overlayfs().err() }
}

const CONTENT: &[u8] = b"seen through";

/// `Ok(None)`: it works. `Ok(Some(reason))`: it does not.
fn try_mount(directory: &Path) -> SysResult<Option<String>> {
    let scratch = tempfile::Builder::new()
        .prefix("tmp-probe-")
        .tempdir_in(directory)
        .call(|| format!("make a directory in `{}`", directory.display()))?;
    let at = |name: &str| scratch.path().join(name);
    for name in ["layer", "data"] {
        std::fs::create_dir(at(name)).call(|| format!("mkdir `{name}`"))?;
    }
    std::fs::write(at("data/content"), CONTENT).call(|| "write `content`".to_owned())?;
    let data = open_directory(&at("data")).call(|| "open `data`".to_owned())?;
    let layer = open_directory(&at("layer")).call(|| "open `layer`".to_owned())?;
    let facts = Facts::of(data.as_fd(), c"content").call(|| "stat `content`".to_owned())?;
    let made = Writer::new(false, false).metadata(layer.as_fd(), c"file", &facts, b"/content");
    if let Err(error) = made.call(|| "set `user.overlay.*` attributes in the data directory".to_owned()) {
        return Ok(Some(error.to_string()));
    }
    in_namespace(|| {
        let parameters = [
            Parameter::Flag("userxattr"),
            Parameter::Value("lowerdir+", at("layer").display().to_string()),
            Parameter::Value("datadir+", at("data").display().to_string()),
        ];
        let mount = Mount::new("overlay", &parameters, Attributes::default())?;
        let mut content = Vec::new();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::openat(mount.root(), c"file", flags, rustix::fs::Mode::empty())
            .call(|| "open a redirected file (the kernel must be Linux 6.16 or newer)".to_owned())?;
        std::fs::File::from(file).read_to_end(&mut content).call(|| "read a redirected file".to_owned())?;
        Ok(content == CONTENT)
    })
}

/// Runs `check` as root of new user and mount namespaces; the reason why it failed comes back through a pipe.
fn in_namespace(check: impl FnOnce() -> SysResult<bool>) -> SysResult<Option<String>> {
    let (go, told) = pipe()?;
    let (answer, said) = pipe()?;
    match clone::clone(Namespaces::USER | Namespaces::MOUNT)? {
        Forked::Child => {
            drop((told, answer));
            let mut byte = [0];
            if !matches!(rustix::io::read(&go, &mut byte), Ok(1)) {
                clone::exit_now(2);
            }
            let reason = match check() {
                Ok(true) => clone::exit_now(0),
                Ok(false) => "a redirected file has the wrong content".to_owned(),
                Err(error) => error.to_string(),
            };
            // The status tells the same, should the pipe be gone.
            rustix::io::write(&said, reason.as_bytes()).ok();
            clone::exit_now(1)
        }
        Forked::Parent { pid, .. } => {
            drop((go, said));
            let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            let mapped = mapper::write(pid, &IdMap::single(0, uid, gid));
            if mapped.is_ok() {
                rustix::io::write(&told, b"g").call(|| "write `pipe`".to_owned())?;
            }
            drop(told);
            let mut reason = String::new();
            std::fs::File::from(answer).read_to_string(&mut reason).call(|| "read `pipe`".to_owned())?;
            let ended = process::wait(pid)?;
            Ok(match (mapped, ended) {
                (Err(error), _) => Some(format!("the kernel refuses an id map: {error}")),
                (Ok(()), Ended::Exited(0)) => None,
                (Ok(()), _) => Some(reason),
            })
        }
    }
}
