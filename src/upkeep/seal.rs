//! The digest of an unpacked tree.

use std::path::Path;

use ring::digest::{Context, SHA256};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::userns::walk::{Entry, walk};

/// Read at a time.
const CHUNK_BYTES: usize = 1 << 17;

/// SHA-256 over every entry in order: path, kind, mode, owners, time of modification, and content, target or device. As
/// the root of a namespace, ids are those of the namespace.
pub(super) fn digest_of_tree(tree: &Path) -> rustix::io::Result<String> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0_u8; CHUNK_BYTES];
    let unreadable = walk(tree, &mut |entry| add(&mut context, entry, &mut buffer))?;
    context.update(&unreadable.to_be_bytes());
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn add(context: &mut Context, entry: &Entry<'_>, buffer: &mut [u8]) -> rustix::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let stat = &entry.stat;
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    part(entry.path.as_os_str().as_bytes());
    for number in [u64::from(stat.st_mode), u64::from(stat.st_uid), u64::from(stat.st_gid), stat.st_rdev] {
        part(&number.to_be_bytes());
    }
    part(&stat.st_mtime.to_be_bytes());
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(entry.directory, entry.name, Vec::new())?;
            part(target.to_bytes());
        }
        FileType::RegularFile => {
            part(&stat.st_size.to_be_bytes());
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(entry.directory, entry.name, flags, Mode::empty())?;
            loop {
                match rustix::io::read(&file, &mut *buffer) {
                    Ok(0) => break,
                    Ok(length) => context.update(&buffer[..length]),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn every_change_changes_it() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path();
        fs::create_dir(tree.join("a")).unwrap();
        fs::write(tree.join("a/file"), "one").unwrap();
        symlink("/x", tree.join("link")).unwrap();
        let mut last = digest_of_tree(tree).unwrap();
        assert_eq!(last, digest_of_tree(tree).unwrap());
        let mut changed = |change: &dyn Fn()| {
            change();
            let now = digest_of_tree(tree).unwrap();
            assert_ne!(std::mem::replace(&mut last, now.clone()), now);
        };
        let time = fs::metadata(tree.join("a/file")).unwrap().modified().unwrap();
        changed(&|| {
            fs::write(tree.join("a/file"), "two").unwrap();
            fs::File::options().write(true).open(tree.join("a/file")).unwrap().set_modified(time).unwrap();
        });
        changed(&|| fs::set_permissions(tree.join("a/file"), fs::Permissions::from_mode(0o600)).unwrap());
        changed(&|| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("/y", tree.join("link")).unwrap();
        });
        changed(&|| fs::write(tree.join("a/new"), "").unwrap());
        changed(&|| fs::rename(tree.join("a/new"), tree.join("a/other")).unwrap());
    }
}
