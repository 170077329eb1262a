//! A minimal `/dev`: the harmless devices of the host, and the box's own terminals, shared memory and message queues.

use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::SysResult;
use crate::sys::fs::{Root, open_path};
use crate::sys::mount::{Attributes, Mount, Parameter};

/// Devices without state that could leak between processes or reach hardware.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// How many terminals a box may open: a quarter of what the kernel has for all (`kernel.pty.max`).
const TERMINALS: u32 = 1024;

/// Symlinks that programs expect.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// Mounts the device `source` of the host at `target`.
pub fn add(root: Root<'_>, source: &Path, target: &Path) -> SysResult<()> {
    let place = root.create_file(target)?;
    let device = Mount::copy(open_path(source)?.as_fd(), &source.to_string_lossy(), false)?;
    device.restrict(Attributes::NO_SUID | Attributes::NO_EXEC, false)?;
    device.attach(place.as_fd(), target)
}

/// Mounts a new `/dev` at `target` beneath `root`.
pub fn mount(root: Root<'_>, target: &Path, tty_group: bool, shm_bytes: Option<u64>) -> SysResult<()> {
    // A world-writable, sticky /dev would trip the kernel's fs.protected_regular: hence 755, and not tmpfs's default.
    let mut parameters = vec![Parameter::Value("mode", "755".into())];
    parameters.extend(Parameter::tmpfs_room(64 << 10));
    let dev = Mount::new("tmpfs", &parameters, Attributes::NO_SUID | Attributes::NO_EXEC)?;
    dev.attach(root.create_directory(target)?.as_fd(), target)?;

    for name in DEVICES {
        add(root, &Path::new("/dev").join(name), &target.join(name))?;
    }
    for (to, name) in LINKS {
        root.symlink(to, &target.join(name))?;
    }

    let mut parameters = vec![
        Parameter::Value("ptmxmode", "0666".into()),
        Parameter::Value("mode", "0620".into()),
        Parameter::Value("max", TERMINALS.to_string()),
    ];
    if tty_group {
        parameters.push(Parameter::Value("gid", "5".into()));
    }
    let terminals = Mount::new("devpts", &parameters, Attributes::NO_SUID | Attributes::NO_EXEC)?;
    terminals.attach(root.create_directory(&target.join("pts"))?.as_fd(), &target.join("pts"))?;

    let strict = Attributes::NO_SUID | Attributes::NO_EXEC | Attributes::NO_DEVICES;
    let mut parameters = vec![Parameter::Value("mode", "1777".into())];
    parameters.extend(shm_bytes.into_iter().flat_map(Parameter::tmpfs_room));
    let shared_memory = Mount::new("tmpfs", &parameters, strict)?;
    shared_memory.attach(root.create_directory(&target.join("shm"))?.as_fd(), &target.join("shm"))?;

    let queues = Mount::new("mqueue", &[], strict)?;
    queues.attach(root.create_directory(&target.join("mqueue"))?.as_fd(), &target.join("mqueue"))
}
