//! What the kernel says of a file, byte by byte as it writes it into the memory of a program.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{SysError, SysResult};

/// Room for either structure, aligned for both.
#[derive(Debug)]
#[repr(C, align(8))]
struct Space<const SIZE: usize>([u8; SIZE]);

/// `struct stat` of the file, as one of this owner.
pub fn plain(file: BorrowedFd<'_>, uid: u32, gid: u32) -> SysResult<[u8; size_of::<libc::stat>()]> {
    let mut space = Space([0; size_of::<libc::stat>()]);
    let fd = file.as_raw_fd();
    // SAFETY: the path is empty and ends with NUL, and the kernel writes one `struct stat`, for which there is room.
    let result =
        unsafe { libc::syscall(libc::SYS_newfstatat, fd, c"".as_ptr(), space.0.as_mut_ptr(), libc::AT_EMPTY_PATH) };
    if result != 0 {
        return Err(SysError::last("newfstatat"));
    }
    put(&mut space.0, offset_of!(libc::stat, st_uid), uid);
    put(&mut space.0, offset_of!(libc::stat, st_gid), gid);
    Ok(space.0)
}

/// `struct statx` of the file, as one of this owner; `flags` and `mask` are the caller's.
pub fn extended(
    file: BorrowedFd<'_>,
    flags: i32,
    mask: u32,
    uid: u32,
    gid: u32,
) -> SysResult<[u8; size_of::<libc::statx>()]> {
    let mut space = Space([0; size_of::<libc::statx>()]);
    let fd = file.as_raw_fd();
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: the path is empty and ends with NUL, and the kernel writes one `struct statx`, for which there is room.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, mask, space.0.as_mut_ptr()) };
    if result != 0 {
        return Err(SysError::last("statx"));
    }
    put(&mut space.0, offset_of!(libc::statx, stx_uid), uid);
    put(&mut space.0, offset_of!(libc::statx, stx_gid), gid);
    Ok(space.0)
}

fn put(bytes: &mut [u8], offset: usize, id: u32) {
    bytes[offset..offset + size_of::<u32>()].copy_from_slice(&id.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_owner_is_exchanged_and_nothing_else() {
        let file = std::fs::File::open("/").unwrap();
        let id = |bytes: &[u8], offset: usize| u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap());
        let (one, other) = (plain(file.as_fd(), 7, 8).unwrap(), plain(file.as_fd(), 9, 10).unwrap());
        let (uid, gid) = (offset_of!(libc::stat, st_uid), offset_of!(libc::stat, st_gid));
        assert_eq!([id(&one, uid), id(&one, gid), id(&other, uid), id(&other, gid)], [7, 8, 9, 10]);
        let found = rustix::fs::fstat(&file).unwrap();
        assert_eq!(id(&one, offset_of!(libc::stat, st_mode)), found.st_mode);
        let differing = one.iter().zip(&other).filter(|(one, other)| one != other).count();
        assert_eq!(differing, 2);

        let wide = extended(file.as_fd(), libc::AT_NO_AUTOMOUNT, libc::STATX_BASIC_STATS, 11, 12).unwrap();
        let (uid, gid) = (offset_of!(libc::statx, stx_uid), offset_of!(libc::statx, stx_gid));
        assert_eq!([id(&wide, uid), id(&wide, gid)], [11, 12]);
    }
}
