//! Unix sockets: pairs, peers, and messages that carry descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use super::{Context, SysError, SysResult};

/// At most this many descriptors travel with one message: the kernel's own limit, `SCM_MAX_FD`.
pub const MAX_DESCRIPTORS: usize = 253;

/// The peer's pid at the time of connecting, in this process's pid namespace: 0 when it is outside of it.
pub fn peer_pid(socket: &impl AsFd) -> SysResult<i32> {
    let credentials = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials)
        .call(|| "getsockopt `SO_PEERCRED`".to_owned())?;
    Ok(credentials.pid())
}

/// Sends `data` and `descriptors`; returns how many bytes went. Without descriptors it does so by a plain `send`, which is all that
/// some of our processes may do.
pub fn send_with_descriptors(socket: &impl AsFd, data: &[u8], descriptors: &[BorrowedFd<'_>]) -> SysResult<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        let sent = match descriptors {
            [] => rustix::net::send(socket, data, SendFlags::NOSIGNAL),
            _ => rustix::net::sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL),
        };
        match sent {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.call(|| "sendmsg".to_owned()),
        }
    }
}

/// Receives into `buffer`; descriptors that came along are appended, CLOEXEC. 0 bytes: the other side is gone.
pub fn receive_with_descriptors(
    socket: &impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> SysResult<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.call(|| "recvmsg".to_owned())?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(received.bytes)
}

/// Lets only packets through to `socket` for which `filter` (classic BPF over the packet from its TCP or UDP header on)
/// does not return 0. Neither this process nor one that is given the socket can take the filter off again.
pub fn lock_filter(socket: &impl AsFd, filter: &[libc::sock_filter]) -> SysResult<()> {
    let call = || format!("setsockopt `SO_ATTACH_FILTER` of {} instructions", filter.len());
    let len = u16::try_from(filter.len()).map_err(|_| SysError::new(call(), rustix::io::Errno::INVAL))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set_option(socket, libc::SO_ATTACH_FILTER, &program, call)?;
    set_option(socket, libc::SO_LOCK_FILTER, &1_i32, || "setsockopt `SO_LOCK_FILTER`".to_owned())
}

fn set_option<T>(socket: &impl AsFd, option: libc::c_int, value: &T, call: impl Fn() -> String) -> SysResult<()> {
    let size = std::mem::size_of::<T>() as libc::socklen_t;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd());
    // SAFETY: the kernel reads `size` bytes of `value`, which outlives the call, and what a program in it points at,
    // which the caller keeps alive.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, std::ptr::from_ref(value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(SysError::last(call())) }
}
